"""The kinds of events, and whom each is for. A kind that is not listed here is posted nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """``is_ours``: for the platform's operators, even when it is about an organization."""

    says: str
    is_ours: bool = False


TEST, DISABLED, CAPPED = "webhook.test", "webhook.disabled", "topup.capped"
DIFFERS, BROKEN = "reconciliation.differs", "proof.broken"
KINDS: Mapping[str, Kind] = {
    "budget.threshold_reached": Kind("A budget's use reached one of its thresholds."),
    "balance.low": Kind("The balance fell beneath its warning."),
    "topup.paid": Kind("A top-up was paid and is credit now."),
    "topup.failed": Kind("An automatic top-up failed and was ended."),
    CAPPED: Kind("The monthly cap keeps automatic top-ups from a low balance."),
    TEST: Kind("Somebody asked for a test."),
    DISABLED: Kind("An endpoint failed for five days, or said 410, and is not called any more."),
    "topup.quarantined": Kind("A payment granted nothing and waits for a person.", is_ours=True),
    "settlement.quarantined": Kind("A call's charge could not be applied.", is_ours=True),
    "topup.loss": Kind("Paid credit went back to the payer after it was used.", is_ours=True),
    BROKEN: Kind("The proof of the books found differences.", is_ours=True),
    DIFFERS: Kind("The hourly reconciliation found differences.", is_ours=True),
}

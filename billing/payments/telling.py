"""Telling of payments: events in the outbox, in the transaction that made them; and alarms."""

from billing.models import TopUp
from billing.notices.outbox import write_event
from kernel.log import logger

# Who did what the payment provider said.
ACTOR = "stripe"
log = logger(__name__)


def tell(top_up: TopUp, kind: str, more: dict[str, object]) -> None:
    told = {"topup": top_up.public_id, "amount_nanos": str(top_up.amount_nanos), **more}
    write_event(kind, told, org_id=top_up.org_id)


def alarm(top_up: TopUp | None, source: str, why: str) -> None:
    """Tell of money that granted nothing; ``source`` is the event or payment that said so."""
    log.error("payment_quarantined", source=source, why=why)
    told = {"event": source, "topup": None if top_up is None else top_up.public_id, "why": why}
    write_event("topup.quarantined", told, org_id=None if top_up is None else top_up.org_id)

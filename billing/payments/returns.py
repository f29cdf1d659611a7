"""What payers got back: taken back of the grant where it is free, else the platform's loss."""

from django.db.models import Sum

from accounts.audit import record_change
from billing.grants import void_grant
from billing.ledger import Posting, Transaction, post_transaction
from billing.models import PaymentEvent, TopUp
from billing.payments.stripe import News
from billing.payments.telling import ACTOR, tell
from kernel.log import logger
from kernel.money import render_usd

RETURNS = (News.REFUNDED, News.DISPUTED)
log = logger(__name__)


def take_returns(top_up: TopUp) -> None:
    """Take back of a paid top-up what refunds and disputes gave back, as far as not done yet."""
    if top_up.grant_id is None:
        return
    events = PaymentEvent.objects.filter(payment_intent=top_up.payment_intent, currency="usd")
    events.filter(kind__in=RETURNS, outcome=PaymentEvent.Outcome.WAITING).update(
        outcome=PaymentEvent.Outcome.APPLIED, top_up=top_up
    )
    refunds = events.filter(kind=News.REFUNDED, amount_nanos__isnull=False)
    latest = refunds.order_by("-amount_nanos").first()
    refunded = 0 if latest is None or latest.amount_nanos is None else latest.amount_nanos
    disputes = events.filter(kind=News.DISPUTED).aggregate(nanos=Sum("amount_nanos"))["nanos"] or 0
    due = min(top_up.amount_nanos, refunded + int(disputes)) - top_up.returned_nanos
    if due <= 0:
        return
    reason = f"payment of {top_up.public_id} was given back"
    taken = void_grant(top_up.org, top_up.grant_id, reason=reason, actor=ACTOR, most_nanos=due)
    top_up.returned_nanos += due
    top_up.save(update_fields=["returned_nanos"])
    if taken < due:
        _lose(top_up, due - taken, reason)


def _lose(top_up: TopUp, nanos: int, reason: str) -> None:
    """Post and tell what was given back after it had been used."""
    post_transaction(
        Transaction(
            top_up.org_id,
            "payment_loss",
            f"loss:{top_up.public_id}:{top_up.returned_nanos}",
            [Posting(None, "platform_loss", nanos), Posting(None, "cash:stripe", -nanos)],
            reason=reason,
            actor=ACTOR,
        )
    )
    told = {"amount_usd": render_usd(nanos), "reason": reason}
    record_change(top_up.org_id, ACTOR, "topup.loss", top_up.public_id, after=told)
    tell(top_up, "topup.loss", {"amount_nanos": str(nanos)})
    log.error("topup_loss", top_up=top_up.public_id, amount_usd=render_usd(nanos))

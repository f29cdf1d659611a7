"""What the payment provider tells, each event applied once: late, again, at once, in any order.

1. The payment is locked, since its top-up may not be known yet.
2. The event's row is made, or the event was applied before.
3. Its top-up is locked, and paid, closed, or taken back from, in the same transaction. What does
   not agree is quarantined: kept, alarmed, and nothing granted.

A refund or dispute of a payment that is not known yet waits for it.
"""

from django.db import transaction

from accounts.audit import record_change
from billing.models import PaymentEvent, SavedCard, TopUp
from billing.payments.returns import RETURNS, take_returns
from billing.payments.stripe import News, PaymentNews
from billing.payments.telling import ACTOR, alarm
from billing.payments.top_ups import (
    Payment,
    fail_top_up,
    lock_payment,
    lock_top_up,
    settle_top_up,
)

IGNORED = "ignored"
Outcome, State, Source = PaymentEvent.Outcome, TopUp.State, TopUp.Source
_ENDINGS = {
    News.FAILED: (State.FAILED, "the payment failed"),
    News.EXPIRED: (State.EXPIRED, "not paid in time"),
    News.DECLINED: (State.FAILED, "the payment was declined"),
}


def apply_event(news: PaymentNews) -> str:
    """Apply what an event says, once, and return its outcome; "ignored" for others' payments."""
    with transaction.atomic():
        if news.payment_intent:
            lock_payment(news.payment_intent)
        top_up = _find(news)
        if top_up is None and not _is_ours(news):
            return IGNORED
        event, is_new = PaymentEvent.objects.get_or_create(
            event_id=news.event_id,
            defaults={
                "kind": news.kind,
                "outcome": Outcome.WAITING,
                "top_up": top_up,
                "payment_intent": news.payment_intent,
                "amount_nanos": news.amount_nanos,
                "currency": news.currency,
            },
        )
        if not is_new:
            return event.outcome
        event.why = _apply(top_up, news) if top_up is not None else _why_without_top_up(news)
        if event.why:
            event.outcome = Outcome.QUARANTINED
            alarm(event.top_up, event.event_id, event.why)
        elif top_up is not None:
            event.outcome = Outcome.APPLIED
        event.save(update_fields=["why", "outcome"])
    return event.outcome


def _apply(top_up: TopUp, news: PaymentNews) -> str:
    """Apply an event to its top-up; return why it was quarantined, or ""."""
    top_up = lock_top_up(top_up)
    if news.kind == News.PAID:
        payment = Payment(news.payment_intent, news.amount_nanos, news.currency)
        why = settle_top_up(top_up, payment)
        if not why:
            _save_card(top_up, news)
        return why
    if news.kind in RETURNS:
        if news.amount_nanos is None or news.currency != "usd":
            return "an amount that cannot be read"
        take_returns(top_up)
    elif news.kind != News.DECLINED or top_up.source == Source.AUTO:
        # whose card is declined on a checkout's page may try another
        fail_top_up(top_up, *_ENDINGS[news.kind])
    return ""


def _find(news: PaymentNews) -> TopUp | None:
    found = TopUp.objects.select_related("org")
    if news.payment_intent:
        top_up = found.filter(payment_intent=news.payment_intent).first()
        if top_up is not None:
            return top_up
    return found.filter(public_id=news.top_up_id).first() if news.top_up_id else None


def _is_ours(news: PaymentNews) -> bool:
    """Say whether an event without a top-up must be kept.

    One that names a top-up must. Disputes name none: theirs may be a payment still to be told.
    """
    is_return = news.kind in RETURNS and bool(news.payment_intent)
    return bool(news.top_up_id) or is_return


def _why_without_top_up(news: PaymentNews) -> str:
    """Return why an event without its top-up is quarantined; a return waits for its payment."""
    return "" if news.kind in RETURNS else "there is no such top-up"


def _save_card(top_up: TopUp, news: PaymentNews) -> None:
    if top_up.saves_card and news.customer and news.payment_method:
        card = {"customer": news.customer, "payment_method": news.payment_method}
        SavedCard.objects.update_or_create(org=top_up.org, defaults=card)
        record_change(top_up.org_id, ACTOR, "card.save", top_up.public_id)

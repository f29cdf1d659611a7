"""Top-ups: asked for, paid, failed, expired.

1. ``start_top_up`` writes an open top-up, then has a page made where it can be paid.
2. ``settle_top_up`` makes the grant; the payment's own id makes twice once, whoever says so.
3. ``fail_top_up`` and ``expire_checkouts`` close what was not paid. Money that comes after all is
   granted after all.

What does not agree with its top-up grants nothing: it is quarantined for a person.

Locks, in this order: the payment, the organization's auto top-up, then as
``billing.locks`` says. An account's lock covers its top-ups.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from accounts.audit import record_change
from accounts.models import Organization
from billing.grants import GrantSpec, grant_credit
from billing.locks import lock_accounts
from billing.models import AutoTopUp, TopUp
from billing.payments import stripe
from billing.payments.returns import take_returns
from billing.payments.telling import ACTOR, tell
from kernel import clock
from kernel.errors import BadRequestError, NotFoundError, RateLimitError, TollgateError
from kernel.log import logger
from kernel.money import NANOS_PER_CENT, render_usd

MOST_OPEN = 20
MOST_FAILURES = 3
MOST_EXPIRED = 200
CHECKOUT_LASTS = timedelta(hours=25)
State, Source = TopUp.State, TopUp.Source
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Payment:
    """Money the provider says it has: ``amount_nanos`` None is an amount that cannot be read."""

    intent: str
    amount_nanos: int | None
    currency: str


def check_amount(nanos: int, *, param: str = "amount") -> int:
    """Return an amount that a top-up may have: whole cents within the operator's bounds."""
    low, high = settings.TOPUP_MIN_NANOS, settings.TOPUP_MAX_NANOS
    if nanos % NANOS_PER_CENT or not low <= nanos <= high:
        raise BadRequestError(
            f"A top-up is {render_usd(low, places=2)} to {render_usd(high, places=2)} dollars, "
            "in whole cents.",
            param=param,
        )
    return nanos


def start_top_up(org: Organization, nanos: int, *, saves_card: bool, actor: str) -> TopUp:
    """Write a top-up and have its page made.

    Raises:
        PaymentsOffError: without a payment provider; BadRequestError: for an amount out of bounds.
        RateLimitError: with too many open ones.
        UpstreamError, UnavailableError: when the provider does not answer.

    """
    stripe.check_payments_on()
    check_amount(nanos)
    with transaction.atomic():
        lock_accounts([org.pk])
        if TopUp.objects.filter(org=org, state=State.OPEN).count() >= MOST_OPEN:
            raise RateLimitError(
                "Too many top-ups are open; pay one, or wait until they expire.",
                headers={"retry-after": "60"},
            )
        top_up = TopUp.objects.create(
            org=org,
            source=Source.CHECKOUT,
            amount_nanos=nanos,
            saves_card=saves_card,
            created_by=actor,
        )
        told = {"amount_usd": render_usd(nanos)}
        record_change(org.pk, actor, "topup.start", top_up.public_id, after=told)
    try:
        page = stripe.open_checkout(top_up)
    except TollgateError:
        # whoever had the page's address would have it from us: nobody can pay there
        with transaction.atomic():
            fail_top_up(lock_top_up(top_up), State.FAILED, "its page could not be made")
        raise
    top_up.checkout_id, top_up.checkout_url = page.id, page.url
    top_up.save(update_fields=["checkout_id", "checkout_url"])
    return top_up


def settle_top_up(top_up: TopUp, payment: Payment) -> str:
    """Make a top-up's grant, under its locks; return why not, or "".

    The amount is what the provider has; one that is not the top-up's quarantines it.
    """
    if top_up.state == State.PAID:
        return "" if top_up.payment_intent == payment.intent else "paid a second time"
    if top_up.state == State.QUARANTINED:
        return "the top-up is in quarantine"
    why = _disagreement(top_up, payment)
    if why:
        _close(top_up, State.QUARANTINED, why)
        return why
    assert payment.amount_nanos is not None, "it is the top-up's"
    spec = GrantSpec(
        payment.amount_nanos,
        f"top-up {top_up.public_id}",
        f"stripe:{payment.intent}",
        source="stripe",
        cash="cash:stripe",
    )
    top_up.grant = grant_credit(top_up.org, spec, actor=ACTOR)
    top_up.payment_intent = payment.intent
    _close(top_up, State.PAID, "")
    if top_up.source == Source.AUTO:
        AutoTopUp.objects.filter(org=top_up.org).update(failures=0)
    tell(top_up, "topup.paid", {"grant": top_up.grant_id})
    take_returns(top_up)
    return ""


def fail_top_up(top_up: TopUp, state: str, why: str) -> None:
    """Close an open top-up that will not be paid, under its locks; three in a row end auto ones."""
    if top_up.state != State.OPEN:
        return
    _close(top_up, state, why)
    if top_up.source != Source.AUTO:
        return
    AutoTopUp.objects.filter(org=top_up.org).update(failures=F("failures") + 1)
    ended = AutoTopUp.objects.filter(org=top_up.org, is_active=True, failures__gte=MOST_FAILURES)
    if ended.update(is_active=False):
        record_change(top_up.org_id, "system", "auto_topup.end", top_up.public_id)
        tell(top_up, "topup.failed", {"why": why, "failures": MOST_FAILURES})
        log.warning("auto_topup_ended", top_up=top_up.public_id, why=why)


def dismiss_top_up(public_id: str, *, reason: str, actor: str) -> TopUp:
    """Close a top-up in quarantine without credit, after its payment was looked into.

    Raises:
        NotFoundError: for one that is not in quarantine; BadRequestError: without a reason.

    """
    if not reason.strip():
        raise BadRequestError("Say why the top-up is dismissed.", param="reason")
    with transaction.atomic():
        found = TopUp.objects.filter(public_id=public_id).first()
        top_up = None if found is None else lock_top_up(found)
        if top_up is None or top_up.state != State.QUARANTINED:
            raise NotFoundError(f"{public_id[:40]!r} is not in quarantine.", code="not_found")
        _close(top_up, State.FAILED, top_up.failure)
        told = {"why": top_up.failure, "reason": reason}
        record_change(top_up.org_id, actor, "topup.dismiss", top_up.public_id, after=told)
    return top_up


def lock_top_up(top_up: TopUp) -> TopUp:
    """Lock what a top-up's changes need, and return it as it is now."""
    list(AutoTopUp.objects.select_for_update().filter(org_id=top_up.org_id))
    lock_accounts([top_up.org_id])
    return TopUp.objects.select_related("org").get(pk=top_up.pk)


def expire_checkouts() -> int:
    """Close checkouts that nobody paid within 25 hours: theirs ended after 24, told or not."""
    old = clock.now() - CHECKOUT_LASTS
    due = TopUp.objects.filter(
        state=State.OPEN, source=Source.CHECKOUT, created_at__lt=old
    ).order_by("id")[:MOST_EXPIRED]
    for top_up in due:
        with transaction.atomic():
            fail_top_up(lock_top_up(top_up), State.EXPIRED, "not paid in time")
    return len(due)


def _disagreement(top_up: TopUp, payment: Payment) -> str:
    if not payment.intent:
        return "the payment has no id"
    if payment.currency != "usd":
        return f"paid in {payment.currency or 'no currency'}"
    if payment.amount_nanos != top_up.amount_nanos:
        paid = payment.amount_nanos
        return f"paid {'?' if paid is None else render_usd(paid, places=2)}"
    return ""


def _close(top_up: TopUp, state: str, why: str) -> None:
    top_up.state, top_up.failure, top_up.closed_at = state, why, clock.now()
    top_up.save(update_fields=["state", "failure", "closed_at", "grant", "payment_intent"])


def lock_payment(intent: str) -> None:
    """Lock a payment, whose top-up may not be known yet, to the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [intent])

"""Auto top-ups: a balance beneath its threshold is topped up from the saved card.

1. ``set_auto_top_up`` says beneath which balance, by how much, how often and up to what a month.
2. ``begin_due`` writes an open top-up where one is due: one at a time, never within the cool-down,
   never beyond the cap in a calendar month of the organization's zone.
3. ``ask_open`` asks for every open one, again until there is an answer: the top-up's id is the
   idempotency key, and customer and card are kept in its row, so that asking again is asking once.
4. Paid is settled as by a webhook; declined counts a failure, and three in a row end it.

Whoever dies between any two of these leaves rows that the next run finds. After 23 hours without
an answer nobody asks again, since the provider forgets keys after 24: the top-up expires, counts
in the cap, and is credited when the provider tells that it was paid after all.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum

from accounts.audit import record_change
from accounts.models import Organization
from billing.grants import database_time
from billing.locks import lock_accounts
from billing.models import AutoTopUp, OutboxEvent, SavedCard, TopUp
from billing.notices.kinds import CAPPED
from billing.notices.outbox import write_event
from billing.payments import stripe
from billing.payments.stripe import Charge, DeclinedError
from billing.payments.telling import alarm
from billing.payments.top_ups import (
    Payment,
    check_amount,
    fail_top_up,
    lock_payment,
    lock_top_up,
    settle_top_up,
)
from kernel.errors import BadRequestError, ConflictError, UnavailableError, UpstreamError
from kernel.log import logger
from kernel.money import check_nanos, render_usd

CHUNK = 100
ASK_AGAIN = timedelta(seconds=25)
ASK_FOR = timedelta(hours=23)
COOL_DOWN_S = (60, 2_592_000)
State, Source = TopUp.State, TopUp.Source
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class AutoTopUpSpec:
    threshold_nanos: int
    amount_nanos: int
    monthly_cap_nanos: int
    cool_down_s: int = 3600


def set_auto_top_up(org: Organization, spec: AutoTopUpSpec, *, actor: str) -> AutoTopUp:
    """Switch an organization's auto top-up on, or change it; failures are forgiven.

    Raises:
        PaymentsOffError: without a payment provider; ConflictError: without a saved card.
        BadRequestError: for amounts out of bounds.

    """
    stripe.check_payments_on()
    _check(spec)
    if not SavedCard.objects.filter(org=org).exists():
        raise ConflictError(
            "No card is saved; pay a top-up with save_card first.", code="no_saved_card"
        )
    with transaction.atomic():
        auto, _ = AutoTopUp.objects.update_or_create(
            org=org,
            defaults={
                "is_active": True,
                "failures": 0,
                "threshold_nanos": spec.threshold_nanos,
                "amount_nanos": spec.amount_nanos,
                "monthly_cap_nanos": spec.monthly_cap_nanos,
                "cool_down_s": spec.cool_down_s,
            },
        )
        told = {
            "threshold_usd": render_usd(spec.threshold_nanos),
            "amount_usd": render_usd(spec.amount_nanos),
            "monthly_cap_usd": render_usd(spec.monthly_cap_nanos),
        }
        record_change(org.pk, actor, "auto_topup.set", org.public_id, after=told)
    return auto


def end_auto_top_up(org: Organization, *, actor: str) -> AutoTopUp | None:
    """Switch it off and return it; what is under way goes on."""
    with transaction.atomic():
        if AutoTopUp.objects.filter(org=org, is_active=True).update(is_active=False):
            record_change(org.pk, actor, "auto_topup.end", org.public_id)
    return AutoTopUp.objects.filter(org=org).first()


def top_up_where_due() -> int:
    """Begin what is due and ask for what is open; return how many were asked for."""
    if not stripe.are_payments_on():
        return 0
    begin_due()
    return ask_open()


def begin_due() -> int:
    """Write a top-up for every organization where one is due, each in its own transaction."""
    balance = F("org__billing_account__deferred_nanos") + F(
        "org__billing_account__promotional_nanos"
    )
    due = (
        AutoTopUp.objects.filter(_is_ready(database_time()), org__saved_card__isnull=False)
        .annotate(balance=balance)
        .filter(~Exists(_open_autos(OuterRef("pk"))), balance__lt=F("threshold_nanos"))
        .order_by("next_at", "pk")
    )
    return sum(_begin(org_id) for org_id in due.values_list("pk", flat=True)[:CHUNK])


def ask_open() -> int:
    """Ask for every open auto top-up that nobody has asked for just now."""
    cut = database_time() - ASK_AGAIN
    due = TopUp.objects.filter(
        Q(asked_at=None) | Q(asked_at__lt=cut), state=State.OPEN, source=Source.AUTO
    ).order_by(F("asked_at").asc(nulls_first=True), "id")
    asked = [_ask_claimed(pk, cut) for pk in due.values_list("pk", flat=True)[:CHUNK]]
    return sum(asked)


def _begin(org_id: int) -> bool:
    """Write one top-up, when it is still due under the locks."""
    with transaction.atomic():
        now = database_time()
        ready = AutoTopUp.objects.select_for_update(skip_locked=True, of=("self",))
        auto = ready.select_related("org").filter(_is_ready(now), pk=org_id).first()
        card = SavedCard.objects.filter(org_id=org_id).first()
        if auto is None or card is None:
            return False
        account = lock_accounts([org_id])[org_id]
        balance = account.deferred_nanos + account.promotional_nanos
        if balance >= auto.threshold_nanos or _open_autos(org_id).exists():
            return False
        auto.next_at = now + timedelta(seconds=auto.cool_down_s)
        auto.save(update_fields=["next_at"])
        month = _month_start(auto.org, now)
        if _charged_since(auto.org, month) + auto.amount_nanos > auto.monthly_cap_nanos:
            _tell_capped(auto, balance, month)
            return False
        top_up = TopUp.objects.create(
            org=auto.org,
            source=Source.AUTO,
            amount_nanos=auto.amount_nanos,
            customer=card.customer,
            payment_method=card.payment_method,
            created_by="system",
            created_at=now,
        )
        told = {"amount_usd": render_usd(auto.amount_nanos)}
        record_change(org_id, "system", "topup.start", top_up.public_id, after=told)
    return True


def _ask_claimed(pk: int, cut: datetime) -> bool:
    """Ask for one top-up, unless somebody else is at it."""
    with transaction.atomic():
        top_up = (
            TopUp.objects.select_for_update(skip_locked=True)
            .filter(Q(asked_at=None) | Q(asked_at__lt=cut), pk=pk, state=State.OPEN)
            .first()
        )
        if top_up is None:
            return False
        top_up.asked_at = database_time()
        top_up.save(update_fields=["asked_at"])
    _ask(top_up, is_late=top_up.asked_at - top_up.created_at > ASK_FOR)
    return True


def _ask(top_up: TopUp, *, is_late: bool) -> None:
    """Ask the provider and keep its answer; no answer is asked for again by the next run."""
    try:
        if top_up.payment_intent:
            _keep(top_up, stripe.read_charge(top_up.payment_intent))
        elif is_late:
            _fail(top_up, State.EXPIRED, "the provider did not answer in time")
        else:
            _keep(top_up, stripe.charge_saved_card(top_up))
    except DeclinedError as error:
        _fail(top_up, State.FAILED, f"declined: {error.code}")
    except (UpstreamError, UnavailableError):
        log.warning("auto_topup_unanswered", top_up=top_up.public_id)


def _keep(top_up: TopUp, charge: Charge) -> None:
    with transaction.atomic():
        lock_payment(charge.payment_intent)
        top_up = lock_top_up(top_up)
        if charge.is_paid:
            payment = Payment(charge.payment_intent, charge.amount_nanos, charge.currency)
            why = settle_top_up(top_up, payment)
            if why:
                alarm(top_up, charge.payment_intent, why)
        elif charge.is_over:
            fail_top_up(top_up, State.FAILED, "the payment was not completed")
        elif top_up.state == State.OPEN:
            top_up.payment_intent = charge.payment_intent
            top_up.save(update_fields=["payment_intent"])


def _fail(top_up: TopUp, state: str, why: str) -> None:
    with transaction.atomic():
        fail_top_up(lock_top_up(top_up), state, why)


def _is_ready(now: datetime) -> Q:
    return Q(is_active=True, next_at__lte=now, org__status=Organization.Status.ACTIVE)


def _open_autos(org_id: Any) -> QuerySet[TopUp]:
    return TopUp.objects.filter(org_id=org_id, state=State.OPEN, source=Source.AUTO)


def _month_start(org: Organization, now: datetime) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("select period_start('month', %s, %s)", [org.timezone, now])
        begin: datetime = cursor.fetchone()[0]
    return begin


def _charged_since(org: Organization, begin: datetime) -> int:
    """Return what auto top-ups have charged since then, or may have."""
    charged = TopUp.objects.filter(org=org, source=Source.AUTO, created_at__gte=begin)
    total = charged.exclude(state=State.FAILED).aggregate(nanos=Sum("amount_nanos"))["nanos"]
    return int(total or 0)


def _tell_capped(auto: AutoTopUp, balance_nanos: int, month: datetime) -> None:
    """Tell the organization, once a month, that its cap keeps the balance low."""
    log.warning("auto_topup_capped", org=auto.org.public_id)
    told = OutboxEvent.objects.filter(org=auto.org, kind=CAPPED, created_at__gte=month)
    if not told.exists():
        amounts = {
            "balance_nanos": str(balance_nanos),
            "monthly_cap_nanos": str(auto.monthly_cap_nanos),
        }
        write_event(CAPPED, amounts, org_id=auto.org_id)


def _check(spec: AutoTopUpSpec) -> None:
    check_amount(spec.amount_nanos)
    check_nanos(spec.threshold_nanos, minimum=1)
    if check_nanos(spec.monthly_cap_nanos) < spec.amount_nanos:
        raise BadRequestError(
            "The monthly cap must allow one top-up at least.", param="monthly_cap"
        )
    low, high = COOL_DOWN_S
    if type(spec.cool_down_s) is not int or not low <= spec.cool_down_s <= high:
        raise BadRequestError(f"A cool-down is {low} to {high} seconds.", param="cool_down_s")

"""A balance beneath its threshold is topped up once, up to the cap, whoever dies on the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import Organization
from billing.grants import void_grant
from billing.models import AutoTopUp, CreditGrant, OutboxEvent, SavedCard, TopUp
from billing.payments import auto, top_ups
from billing.payments import stripe as provider
from billing.payments.auto import top_up_where_due
from kernel import clock
from tests.books import assert_proven
from tests.fakes.stripe import FakeStripe, event, intent_paid
from tests.payments.conftest import DOLLAR, WANTED, Customer, tell, watch


class Killed(BaseException):
    """The end of a process, as nothing on the way catches it."""


def pass_time(hours: int = 2) -> None:
    """Everything that was, was that much earlier."""
    back = timedelta(hours=hours)
    for row in AutoTopUp.objects.all():
        AutoTopUp.objects.filter(pk=row.pk).update(next_at=row.next_at - back)
    for top_up in TopUp.objects.filter(asked_at__isnull=False):
        assert top_up.asked_at is not None
        TopUp.objects.filter(pk=top_up.pk).update(
            asked_at=top_up.asked_at - back, created_at=top_up.created_at - back
        )


def spend_all(customer: Customer) -> None:
    """Take the credit away, so that the balance is beneath the threshold again."""
    for grant in CreditGrant.objects.filter(is_open=True):
        void_grant(customer.tenant.org, grant.pk, reason="spent", actor="test")


def states() -> list[str]:
    return list(TopUp.objects.order_by("id").values_list("state", flat=True))


def test_a_balance_beneath_its_threshold_is_topped_up_at_once(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)

    first, again = top_up_where_due(), top_up_where_due()

    (asked,) = stripe.asked
    top_up = TopUp.objects.get()
    assert (first, again) == (1, 0)
    assert (asked.path, asked.idem_key) == ("/v1/payment_intents", top_up.public_id)
    assert asked.form == {
        "amount": "2500",
        "currency": "usd",
        "customer": "cus_1",
        "payment_method": "pm_1",
        "off_session": "true",
        "confirm": "true",
        "error_on_requires_action": "true",
        "metadata[top_up]": top_up.public_id,
    }
    assert (top_up.source, top_up.state) == ("auto", "paid")
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert tell(intent_paid("evt_1", top_up.public_id)) == (200, "applied")
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


def test_a_balance_at_its_threshold_is_left_alone(acme: Customer, stripe: FakeStripe) -> None:
    watch(acme, threshold="25.00")
    top_up_where_due()
    pass_time()

    assert (top_up_where_due(), states()) == (0, ["paid"])


def before(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Die as this function of the module is reached, once."""

    def arm(patch: pytest.MonkeyPatch) -> None:
        module = {"auto": auto, "top_ups": top_ups, "stripe": provider}[name.partition(".")[0]]
        real = getattr(module, name.partition(".")[2])
        died: list[int] = []

        def die(*args: Any, **kwargs: Any) -> Any:
            if not died:
                died.append(1)
                raise Killed
            return real(*args, **kwargs)

        patch.setattr(module, name.partition(".")[2], die)

    return arm


@pytest.mark.parametrize(
    "step",
    [
        "auto._begin",  # nothing is written
        "auto.record_change",  # the row is written, not committed
        "auto.ask_open",  # the row is committed
        "auto._ask",  # it is claimed
        "stripe.charge_saved_card",  # just before it is asked
        "auto._keep",  # the card is charged, the answer is lost
        "auto.lock_payment",
        "auto.settle_top_up",
        "top_ups.grant_credit",
        "top_ups._close",  # the grant is posted, not committed
        "top_ups.tell",
        "top_ups.take_returns",  # all is written, not committed
    ],
)
def test_killed_at_any_step_the_card_is_charged_once_and_credit_comes_once(
    database: str, acme: Customer, stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    watch(acme)
    before(step)(monkeypatch)

    with pytest.raises(Killed):
        top_up_where_due()
    connection.close()
    TopUp.objects.update(asked_at=clock.now() - timedelta(minutes=1))
    top_up_where_due()
    top_up_where_due()

    assert states() == ["paid"]
    assert len(stripe.charges) == CreditGrant.objects.count() == 1
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


@pytest.mark.parametrize("fault", ["fail", "cut", "busy", "refuse"])
def test_a_charge_that_nobody_knows_of_is_asked_for_again_under_the_same_key(
    database: str, acme: Customer, stripe: FakeStripe, fault: str
) -> None:
    watch(acme)
    stripe.script.append(fault)
    top_up_where_due()
    unknown = states()
    TopUp.objects.update(asked_at=clock.now() - timedelta(minutes=1))
    SavedCard.objects.update(payment_method="pm_2")

    top_up_where_due()

    assert (unknown, states()) == (["open"], ["paid"])
    assert len({asked.idem_key for asked in stripe.asked}) == len(stripe.charges) == 1
    assert AutoTopUp.objects.get().failures == 0
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


def test_two_workers_at_once_charge_once(database: str, acme: Customer, stripe: FakeStripe) -> None:
    watch(acme)

    def work(_: int) -> int:
        try:
            return top_up_where_due()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        asked = list(pool.map(work, range(6)))

    assert sum(asked) == len(stripe.charges) == CreditGrant.objects.count() == 1
    assert_proven(database)


def test_within_the_cool_down_nothing_is_charged_again(acme: Customer, stripe: FakeStripe) -> None:
    watch(acme, monthly_cap="1000.00", cool_down_s=7200)
    top_up_where_due()
    spend_all(acme)

    pass_time(1)
    within = top_up_where_due()
    pass_time(1)
    after = top_up_where_due()

    assert (within, after, len(stripe.charges)) == (0, 1, 2)


def test_a_calendar_month_of_the_organizations_zone_never_costs_more_than_its_cap(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)
    for _ in range(4):
        top_up_where_due()
        spend_all(acme)
        AutoTopUp.objects.update(next_at=clock.now() - timedelta(seconds=1))
    capped = len(stripe.charges)
    told = OutboxEvent.objects.get(kind="topup.capped")
    assert told.org_id == acme.tenant.org.pk
    assert told.payload == {"balance_nanos": "0", "monthly_cap_nanos": "60000000000"}
    last_month = clock.now().replace(day=1, hour=0) - timedelta(days=2)
    TopUp.objects.filter(pk=TopUp.objects.order_by("id")[0].pk).update(created_at=last_month)

    top_up_where_due()

    assert (capped, len(stripe.charges)) == (2, 3)
    assert_proven(database)


def test_the_month_begins_at_the_organizations_midnight(database: str, acme: Customer) -> None:
    org = acme.tenant.org
    Organization.objects.filter(pk=org.pk).update(timezone="Asia/Tokyo")
    org.refresh_from_db()
    for hour in (14, 15):  # Tokyo's March begins at 15:00 UTC of the last of February
        TopUp.objects.create(
            org=org,
            source="auto",
            state="expired",
            amount_nanos=hour * DOLLAR,
            created_at=datetime(2026, 2, 28, hour, tzinfo=UTC),
        )

    def charged(day: int, hour: int) -> int:
        begin = auto._month_start(org, datetime(2026, 2, day, hour, tzinfo=UTC))
        return auto._charged_since(org, begin) // DOLLAR

    assert (charged(28, 14), charged(28, 16)) == (29, 15)


def test_three_declines_in_a_row_end_it_and_are_told_once(
    acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)
    stripe.script.extend(["decline"] * 9)
    for _ in range(5):
        top_up_where_due()
        pass_time()

    assert states() == ["failed"] * 3
    assert TopUp.objects.values_list("failure", flat=True)[0] == "declined: insufficient_funds"
    assert AutoTopUp.objects.get().is_active is False
    told = OutboxEvent.objects.get(kind="topup.failed")
    assert (told.org_id, told.payload["failures"]) == (acme.tenant.org.pk, 3)
    assert acme.get("auto_topup").json()["active"] is False
    assert CreditGrant.objects.count() == 0
    assert acme.post("auto_topup", WANTED).json()["failures"] == 0


def test_a_payment_between_declines_begins_the_count_anew(
    acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme, monthly_cap="1000.00")
    stripe.script.extend(["decline", "decline", "", "decline", "decline"])
    for _ in range(5):
        top_up_where_due()
        spend_all(acme)
        pass_time()

    assert states() == ["failed", "failed", "paid", "failed", "failed"]
    assert (AutoTopUp.objects.get().is_active, AutoTopUp.objects.get().failures) == (True, 2)


def test_a_charge_under_way_is_waited_for_and_settled_by_whoever_hears_first(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)
    stripe.script.append("processing")
    top_up_where_due()
    under_way = states()
    pass_time()
    top_up_where_due()
    still = (states(), stripe.asked[-1].method)
    next(iter(stripe.objects.values())).update(status="succeeded", amount_received=2500)
    pass_time()

    top_up_where_due()

    assert (under_way, still) == (["open"], (["open"], "GET"))
    assert (states(), len(stripe.charges)) == (["paid"], 1)
    assert_proven(database)


def test_a_webhook_that_says_declined_counts_as_a_failure(
    acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)
    stripe.script.append("processing")
    top_up_where_due()
    about = {"object": "payment_intent", "id": "pi_1", "metadata": {}}

    said = tell(event("evt_1", "payment_intent.payment_failed", about))

    assert (said, states()) == ((200, "applied"), ["failed"])
    assert AutoTopUp.objects.get().failures == 1


def test_after_a_day_without_an_answer_nobody_asks_again_and_late_money_is_credit(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)
    stripe.script.append("cut")
    top_up_where_due()
    pass_time(24)
    AutoTopUp.objects.update(is_active=False)

    top_up_where_due()
    expired = states()
    said = tell(intent_paid("evt_1", TopUp.objects.get().public_id))

    assert (expired, len(stripe.asked)) == (["expired"], 1)
    assert (said, states()) == ((200, "applied"), ["paid"])
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


def test_an_answer_with_another_amount_grants_nothing_and_is_told(
    acme: Customer, stripe: FakeStripe
) -> None:
    watch(acme)
    stripe.script.append("processing")
    top_up_where_due()
    next(iter(stripe.objects.values())).update(status="succeeded", amount_received=250_000)
    pass_time()

    top_up_where_due()

    assert states() == ["quarantined"]
    assert OutboxEvent.objects.get(kind="topup.quarantined").payload["event"] == "pi_1"
    assert CreditGrant.objects.count() == 0

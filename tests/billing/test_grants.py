"""Credit grants: reserved and burned in the published order, each only for what it may pay."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing.grants import GrantSpec, expire_grants, grant_credit, void_grant
from billing.holds import Act, Closing, Extension
from billing.models import CreditGrant, GrantBurn, Hold, LedgerEntry
from kernel import clock
from kernel.errors import TollgateError
from kernel.ids import new_id
from tests.books import assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant


def give(tenant: Tenant, nanos: int, **how: Any) -> CreditGrant:
    spec = GrantSpec(nanos, "for the test", new_id("credit"), **how)
    return grant_credit(tenant.org, spec, actor="test")


def balances(code: str) -> int:
    entries = LedgerEntry.objects.filter(account__code=code)
    return sum(entry.amount_nanos for entry in entries)


def burned(request_id: str) -> list[tuple[int, int]]:
    burns = GrantBurn.objects.filter(request_id=request_id).order_by("id")
    return [(burn.grant_id, burn.amount_nanos) for burn in burns]


def let_time_pass(grant: CreditGrant) -> None:
    """Make a grant one that was over an hour ago."""
    long_ago = clock.now() - timedelta(days=9)
    CreditGrant.objects.filter(pk=grant.pk).update(
        effective_at=long_ago, expires_at=clock.now() - timedelta(hours=1)
    )


def in_a_week() -> datetime:
    return clock.now() + timedelta(days=7)


def test_credit_burns_by_priority_scope_expiry_kind_and_age(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, price = make_price("m")
    soon = in_a_week()
    # made in an order that is not the order of burning
    oldest_paid = give(acme, 100)
    paid = give(acme, 100)
    promotional = give(acme, 100, kind="promotional")
    expiring = give(acme, 100, expires_at=soon)
    two_models = give(acme, 100, allowed_models=["m", "n"])
    one_model = give(acme, 100, allowed_models=["m"])
    first = give(acme, 100, priority=1)
    give(acme, 100, priority=0, allowed_models=["other"])
    request = hold_request(acme, version, 700)

    run_tick(database, holds=[request])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=0, output_tokens=9)]
    )

    assert burned(request.request_id) == [
        (grant.pk, 100)
        for grant in (first, one_model, two_models, expiring, promotional, oldest_paid, paid)
    ]
    assert_proven(database)


def test_a_charge_burns_what_its_hold_reserved_and_gives_the_rest_back(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, price = make_price("m", output_usd="1.00")
    promotional, paid = give(acme, 3_000, kind="promotional"), give(acme, 9_000)
    request = hold_request(acme, version, 10_000)

    run_tick(database, holds=[request])
    held = list(CreditGrant.objects.order_by("pk").values_list("held_nanos", flat=True))
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=0, output_tokens=4)]
    )

    assert held == [3_000, 7_000]
    assert burned(request.request_id) == [(promotional.pk, 3_000), (paid.pk, 1_000)]
    assert (acme.account.promotional_nanos, acme.account.deferred_nanos) == (0, 8_000)
    assert (balances("promotional_credit"), balances("promotional_expense")) == (0, 3_000)
    assert (balances("deferred_revenue"), balances("usage_revenue")) == (-8_000, -4_000)
    assert_proven(database)


def test_credit_for_one_model_never_pays_for_another(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, _ = make_price("m")
    give(acme, 5_000, allowed_models=["other"])
    give(acme, 1_000)

    answer = run_tick(database, holds=[hold_request(acme, version, 1_001)])

    (refusal,) = answer.held.values()
    assert refusal is not None
    assert (refusal.why, refusal.facts["available"]) == ("credit", 1_000)
    assert acme.account.held_nanos == 0
    assert_proven(database)


def test_two_calls_never_count_on_the_same_credit(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, _ = make_price("m")
    other, _ = make_price("n")
    give(acme, 1_000, allowed_models=["m", "n"])
    give(acme, 500)
    requests = [hold_request(acme, v, 700) for v in (version, other, version)]

    answer = run_tick(database, holds=requests)

    assert [answer.held[r.request_id] is None for r in requests] == [True, True, False]
    assert sum(CreditGrant.objects.values_list("held_nanos", flat=True)) == 1_400
    assert_proven(database)


def test_credit_that_is_not_yet_or_no_longer_effective_pays_for_nothing(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, _ = make_price("m")
    give(acme, 1_000, effective_at=in_a_week())
    let_time_pass(give(acme, 1_000, expires_at=in_a_week()))

    answer = run_tick(database, holds=[hold_request(acme, version, 1)])

    assert [refusal is None for refusal in answer.held.values()] == [False]
    assert_proven(database)


def test_expired_paid_credit_becomes_breakage_and_given_credit_is_given_back(
    database: str,
) -> None:
    acme = make_tenant(credit_usd="0")
    for kind in ("paid", "promotional"):
        let_time_pass(give(acme, 1_000, kind=kind, expires_at=in_a_week()))

    first, again = expire_grants(), expire_grants()

    assert (first, again) == (2_000, 0)
    assert (acme.account.deferred_nanos, acme.account.promotional_nanos) == (0, 0)
    assert (balances("breakage"), balances("promotional_expense")) == (-1_000, 0)
    assert_proven(database)


def test_what_a_running_call_reserved_outlives_the_expiry_and_its_rest_expires_later(
    database: str,
) -> None:
    acme = make_tenant(credit_usd="0")
    version, price = make_price("m", output_usd="1.00")
    grant = give(acme, 10_000, expires_at=in_a_week())
    request = hold_request(acme, version, 6_000)
    run_tick(database, holds=[request])
    with connection.cursor() as cursor:
        cursor.execute(
            "update billing_creditgrant set expires_at = h.created_at + interval '1 millisecond'"
            " from billing_hold h"
        )

    at_the_time = expire_grants()
    more = run_tick(database, extensions=[Extension(request.request_id, 1)])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=0, output_tokens=2)]
    )
    afterwards = expire_grants()

    assert (at_the_time, afterwards) == (4_000, 4_000)
    assert more.extended == {request.request_id: False}
    assert burned(request.request_id) == [(grant.pk, 2_000)]
    assert_proven(database)


def test_an_extension_reserves_on_the_next_grant_and_then_on_the_line(database: str) -> None:
    acme = make_tenant(credit_usd="0", mode="hybrid", credit_limit_usd="0.000005")
    version, price = make_price("m", output_usd="1.00")
    first, second = give(acme, 1_000), give(acme, 1_000)
    request = hold_request(acme, version, 500)
    run_tick(database, holds=[request])

    answer = run_tick(database, extensions=[Extension(request.request_id, 4_000)])
    hold = Hold.objects.get()
    held_on_line = acme.account.line_held_nanos
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=0, output_tokens=4)]
    )

    assert answer.extended == {request.request_id: True}
    assert (hold.grant_ids, hold.grant_nanos) == (
        [first.pk, first.pk, second.pk],
        [500, 500, 1_000],
    )
    assert held_on_line == 2_500
    assert burned(request.request_id) == [(first.pk, 1_000), (second.pk, 1_000)]
    assert (acme.account.unbilled_nanos, acme.account.line_held_nanos) == (2_000, 0)
    assert_proven(database)


def test_voiding_takes_what_is_free_and_leaves_what_calls_reserved(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, _ = make_price("m")
    grant = give(acme, 1_000)
    request = hold_request(acme, version, 400)
    run_tick(database, holds=[request])

    taken = void_grant(acme.org, grant.pk, reason="a mistake", actor="test")
    run_tick(database, closings=[Closing(request.request_id, Act.RELEASE)])
    rest = void_grant(acme.org, grant.pk, reason="a mistake", actor="test")
    nothing = void_grant(acme.org, grant.pk, reason="a mistake", actor="test")

    assert (taken, rest, nothing) == (600, 400, 0)
    assert (acme.account.deferred_nanos, balances("cash:manual")) == (0, 0)
    assert_proven(database)


def test_a_grant_given_twice_under_one_key_is_given_once(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    spec = GrantSpec(1_000, "once", "credit-1")

    grants = [grant_credit(acme.org, spec, actor="test") for _ in range(3)]

    assert len({grant.pk for grant in grants}) == 1
    assert acme.account.deferred_nanos == 1_000
    assert_proven(database)


@pytest.mark.parametrize(
    "how",
    [
        {"kind": "stolen"},
        {"reason": " "},
        {"allowed_models": []},
        {"priority": -1},
        {"expires_at": datetime(2020, 1, 1, tzinfo=clock.now().tzinfo)},
        {"amount_nanos": 0},
        {"amount_nanos": -5},
        {"amount_nanos": True},
    ],
)
def test_credit_that_cannot_be_is_refused_and_moves_nothing(
    database: str, how: dict[str, Any]
) -> None:
    acme = make_tenant(credit_usd="0")
    spec = GrantSpec(**{"amount_nanos": 5, "reason": "r", "idem_key": "k", **how})

    with pytest.raises(TollgateError):
        grant_credit(acme.org, spec, actor="test")

    assert CreditGrant.objects.count() == 0
    assert acme.account.deferred_nanos == 0


def test_the_database_refuses_to_spend_a_grant_twice_or_to_change_a_burn(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version, price = make_price("m")
    grant = give(acme, 1_000)
    request = hold_request(acme, version, 1_000)
    run_tick(database, holds=[request])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=9, output_tokens=9)]
    )

    with pytest.raises(IntegrityError), transaction.atomic():
        CreditGrant.objects.filter(pk=grant.pk).update(consumed_nanos=1_001)
    with pytest.raises(IntegrityError), transaction.atomic():
        GrantBurn.objects.update(amount_nanos=1)


def test_a_low_balance_is_told_once_in_the_settling_transaction_and_again_after_a_top_up(
    database: str,
) -> None:
    acme = make_tenant(credit_usd="0.00001")
    version, price = make_price("m", output_usd="1.00")
    acme.account.__class__.objects.filter(org=acme.org).update(low_balance_nanos=7_000)

    def spend() -> list[str]:
        request = hold_request(acme, version, 2_000)
        run_tick(database, holds=[request])
        run_tick(
            database,
            closings=[settlement(request.request_id, price, input_tokens=0, output_tokens=2)],
        )
        events = acme.org.outboxevent_set.filter(kind="balance.low").order_by("id")
        return [event.payload["balance_nanos"] for event in events]

    told = [spend() for _ in range(3)]
    give(acme, 5_000)
    told_again = [spend() for _ in range(2)]

    assert told == [[], ["6000"], ["6000"]]
    assert told_again == [["6000"], ["6000", "5000"]]
    assert_proven(database)


def test_a_low_balance_counts_what_is_left_of_the_credit_line(database: str) -> None:
    acme = make_tenant(credit_usd="0.000001", mode="hybrid", credit_limit_usd="0.00001")
    version, price = make_price("m", output_usd="1.00")
    acme.account.__class__.objects.filter(org=acme.org).update(low_balance_nanos=7_000)

    def spend() -> list[str]:
        request = hold_request(acme, version, 2_000)
        run_tick(database, holds=[request])
        closing = settlement(request.request_id, price, input_tokens=0, output_tokens=2)
        run_tick(database, closings=[closing])
        events = acme.org.outboxevent_set.filter(kind="balance.low")
        return [event.payload["balance_nanos"] for event in events]

    # 1,000 paid and 10,000 on account
    assert [spend() for _ in range(3)] == [[], [], ["5000"]]
    assert_proven(database)

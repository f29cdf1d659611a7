"""The proof names what each of these equations forbids, and nothing where it is allowed."""

from typing import LiteralString

import psycopg
import pytest

from billing.budgets import BudgetSpec, add_budget, change_budget_limit, create_budget
from billing.database import connect_sync
from billing.grants import GrantSpec, grant_credit
from billing.holds import Extension
from billing.models import Budget, BudgetWindow, CreditGrant, Hold
from billing.pricing import Price
from billing.proof import prove
from tests.books import NOWHERE, assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant


def broken(database: str) -> set[str]:
    with connect_sync(database, "proof", statement_timeout_ms=60_000) as connection:
        return {f.number for f in prove(connection, NOWHERE).findings if f.rows}


def tamper(database: str, statement: LiteralString, **values: object) -> None:
    with psycopg.connect(database) as owner:
        owner.execute("set session_replication_role = replica")
        owner.execute(statement, values)


def spend(database: str, tenant: Tenant, nanos: int) -> str:
    """One settled call that costs so much."""
    version, price = make_price(input_usd="1.00")
    request = hold_request(tenant, version, nanos)._replace(amount_tokens=nanos)
    assert run_tick(database, holds=[request]).held == {request.request_id: None}
    close(database, request.request_id, price, nanos)
    return request.request_id


def close(database: str, request_id: str, price: Price, nanos: int) -> None:
    tokens = nanos // 1_000
    closing = settlement(request_id, price, input_tokens=tokens, output_tokens=0)
    run_tick(database, closings=[closing])


@pytest.mark.tampers
def test_a_budget_beyond_its_limit_is_named(database: str) -> None:
    acme = make_tenant()
    create_budget(org=acme.org, limit_nanos=5_000, period="month", actor="test")
    spend(database, acme, 3_000)
    assert broken(database) == set()

    tamper(database, "update billing_budgetwindow set highest_limit = 10")

    assert broken(database) == {"G1a"}


@pytest.mark.tampers
def test_a_token_budget_beyond_its_limit_is_named(database: str) -> None:
    acme = make_tenant()
    add_budget(acme.org, BudgetSpec("month", limit_tokens=5_000), actor="test")
    spend(database, acme, 3_000)
    assert BudgetWindow.objects.get().highest_limit == 5_000

    tamper(database, "update billing_budgetwindow set highest_limit = 2")

    assert broken(database) == {"G1a"}


def test_a_lowered_limit_is_no_overspend_and_a_raised_one_counts(database: str) -> None:
    acme = make_tenant()
    budget = create_budget(org=acme.org, limit_nanos=5_000, period="month", actor="test")
    spend(database, acme, 5_000)
    change_budget_limit(budget, 9_000, actor="test")
    spend(database, acme, 4_000)

    change_budget_limit(Budget.objects.get(), 10, actor="test")

    assert BudgetWindow.objects.get().highest_limit == 9_000
    assert_proven(database)


@pytest.mark.tampers
def test_tokens_missing_from_a_window_are_named(database: str) -> None:
    acme = make_tenant()
    add_budget(acme.org, BudgetSpec("month", limit_tokens=5_000), actor="test")
    request_id = spend(database, acme, 3_000)

    tamper(database, "update billing_budgetwindow set settled_tokens = 0")
    tamper(
        database,
        "update billing_hold set budget_ids = '{}', window_starts = '{}' where request_id = %(r)s",
        r=request_id,
    )
    tamper(database, "update billing_budgetwindow set settled_nanos = 3000")

    assert "I9b" in broken(database)


@pytest.mark.tampers
def test_a_credit_line_beyond_its_limit_is_named(database: str) -> None:
    acme = make_tenant(mode="postpaid", credit_usd="0", credit_limit_usd="1")
    spend(database, acme, 3_000)
    assert broken(database) == set()

    tamper(database, "update billing_billingaccount set credit_limit_nanos = 2999")

    assert broken(database) == {"G1b"}


@pytest.mark.tampers
def test_a_price_that_was_replaced_half_a_minute_before_is_named(database: str) -> None:
    acme = make_tenant()
    spend(database, acme, 3_000)
    tamper(
        database,
        "update billing_priceversion set effective_from = now() - interval '1 minute'",
    )
    make_price(input_usd="3.00")
    tamper(
        database,
        "update billing_priceversion set effective_from = now() - interval '40 seconds'"
        " where input_nanos = 3000000000",
    )

    assert broken(database) == {"I11b"}


def grants(tenant: Tenant) -> tuple[CreditGrant, CreditGrant]:
    """Credit of 5,000 that burns first, and plenty that burns after it."""
    first = GrantSpec(5_000, "first", "first", priority=1)
    return (
        grant_credit(tenant.org, first, actor="test"),
        grant_credit(tenant.org, GrantSpec(10**9, "later", "later"), actor="test"),
    )


def swap(database: str, request_id: str, first: int, later: int) -> None:
    """Pretend that a call reserved and burned the other grant."""
    for statement in (
        "update billing_hold set grant_ids = array[%(later)s::bigint] where request_id = %(r)s",
        "update billing_grantburn set grant_id = %(later)s where grant_id = %(first)s",
        "update billing_creditgrant set consumed_nanos = 3000 * (id = %(later)s)::int",
    ):
        tamper(database, statement, r=request_id, first=first, later=later)


@pytest.mark.tampers
def test_a_call_that_passed_over_earlier_credit_is_named(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    first, later = grants(acme)
    request_id = spend(database, acme, 3_000)
    assert broken(database) == set()

    swap(database, request_id, first.pk, later.pk)

    assert broken(database) == {"I16c"}


@pytest.mark.tampers
def test_a_call_that_reserved_in_the_wrong_order_is_named(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    first, later = grants(acme)
    version, _ = make_price(input_usd="1.00")
    request = hold_request(acme, version, 8_000)
    run_tick(database, holds=[request])
    assert Hold.objects.get().grant_ids == [first.pk, later.pk]
    assert broken(database) == set()

    tamper(
        database,
        "update billing_hold set grant_ids = array[%(later)s, %(first)s]::bigint[],"
        " grant_nanos = array[3000, 5000]",
        first=first.pk,
        later=later.pk,
    )

    assert broken(database) == {"I16c"}


@pytest.mark.parametrize("is_before", [True, False])
def test_earlier_credit_that_others_hold_is_not_passed_over(
    database: str, *, is_before: bool
) -> None:
    acme = make_tenant(credit_usd="0")
    first, later = grants(acme)
    version, price = make_price(input_usd="1.00")
    one, two = (hold_request(acme, version, 5_000) for _ in range(2))
    run_tick(database, holds=[one])
    run_tick(database, holds=[two])
    if is_before:
        close(database, one.request_id, price, 1_000)
    run_tick(database, extensions=[Extension(two.request_id, 5_000)])
    close(database, two.request_id, price, 10_000)
    if not is_before:
        close(database, one.request_id, price, 1_000)

    assert set(Hold.objects.get(request_id=two.request_id).grant_ids) <= {first.pk, later.pk}
    assert_proven(database)

"""An organization may change its time zone; its books stay whole: no call twice, none left out."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from accounts.models import Organization
from billing.budgets import BudgetSpec, add_budget
from billing.database import connect_sync
from billing.invoices import Month, close_due_months, close_month, previous_month
from billing.models import Budget, BudgetWindow, Invoice, PriceVersion
from billing.pricing import Price
from billing.proof import prove
from billing.standing import read_key_standing
from kernel import clock
from tests.billing.past import use_at
from tests.books import NOWHERE, assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant

ZONES = ["Pacific/Auckland", "America/New_York", "Asia/Kathmandu"]


def old_price(at: datetime) -> tuple[PriceVersion, Price]:
    version, price = make_price(input_usd="1.00")
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_priceversion disable trigger append_only")
        cursor.execute("update billing_priceversion set effective_from = %s", [at])
        cursor.execute("alter table billing_priceversion enable trigger append_only")
    version.refresh_from_db()
    return version, price


def move(tenant: Tenant, zone: str) -> None:
    Organization.objects.filter(pk=tenant.org.pk).update(timezone=zone)
    tenant.org.refresh_from_db()


def two_months() -> tuple[Month, Month]:
    """The last two months that are over, everywhere."""
    later = previous_month(clock.now() - timedelta(days=1), "UTC")
    return previous_month(later.start("UTC"), "UTC"), later


def use_around(
    database: str, acme: Tenant, priced: tuple[PriceVersion, Price], months: tuple[Month, Month]
) -> None:
    """Six calls of a thousandth of a dollar, on both sides of where the months meet anywhere."""
    first, second = months
    border = first.end("UTC")
    for hours in (-20, -8, -2, 2, 8, 20):
        use_at(
            database, acme, border + timedelta(hours=hours), priced, input_tokens=1, output_tokens=0
        )
    assert second.start("UTC") == border


def broken(database: str, number: str) -> list[str]:
    with connect_sync(database, "proof", statement_timeout_ms=60_000) as books:
        proof = prove(books, NOWHERE)
    return [str(row[0]) for f in proof.findings if f.number == number for row in f.rows]


@pytest.mark.parametrize("zone", ZONES)
def test_a_call_is_on_exactly_one_invoice_whatever_zone_is_chosen_in_between(
    database: str, zone: str
) -> None:
    months = two_months()
    acme = make_tenant()
    Organization.objects.update(created_at=months[0].start("UTC"))
    use_around(database, acme, old_price(months[0].start("UTC")), months)
    close_month(acme.org, months[0])
    move(acme, zone)

    close_month(acme.org, months[1])

    first, second = Invoice.objects.order_by("period_start")
    assert first.period_end == second.period_start
    assert (first.month, second.month) == (months[0].name, months[1].name)
    assert (first.timezone, second.timezone) == ("UTC", zone)
    assert [first.usage_nanos, second.usage_nanos] == [3_000, 3_000]
    assert_proven(database)


def test_a_month_that_was_closed_is_not_closed_again_in_another_zone(database: str) -> None:
    months = two_months()
    acme = make_tenant()
    Organization.objects.update(created_at=months[0].start("UTC"))
    use_around(database, acme, old_price(months[0].start("UTC")), months)
    invoice = close_month(acme.org, months[1])
    move(acme, "America/New_York")

    again = close_month(acme.org, months[1])

    assert invoice == again
    assert close_due_months() == 0
    assert Invoice.objects.count() == 2


def test_months_that_were_left_out_are_closed_before_the_next(database: str) -> None:
    months = two_months()
    acme = make_tenant()
    Organization.objects.update(created_at=months[0].start("UTC"))
    use_around(database, acme, old_price(months[0].start("UTC")), months)

    assert close_due_months() == 2

    assert [i.usage_nanos for i in Invoice.objects.order_by("number")] == [3_000, 3_000]
    assert close_month(acme.org, previous_month(months[0].start("UTC"), "UTC")) is None
    assert_proven(database)


@pytest.mark.tampers
def test_a_month_stays_a_draft_while_one_before_it_is_open(database: str) -> None:
    months = two_months()
    acme = make_tenant()
    Organization.objects.update(created_at=months[0].start("UTC"))
    priced = old_price(months[0].start("UTC"))
    at = months[0].start("UTC") + timedelta(days=3)
    use_at(database, acme, at, priced, input_tokens=1, output_tokens=0)
    use_at(database, acme, at, priced, input_tokens=1, output_tokens=0, settle=False)

    assert close_due_months() == 0

    assert [i.state for i in Invoice.objects.order_by("month")] == ["draft", "draft"]


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("billing_invoice set period_start = period_start - '12 h'::interval", "begins"),
        ("billing_invoice set period_start = period_start + '12 h'::interval", "on no invoice"),
        ("billing_invoiceline l set model = 'x' from billing_invoice i", "version"),
    ],
)
def test_the_proof_names_calls_on_two_invoices_or_none(
    database: str, change: str, named: str
) -> None:
    months = two_months()
    acme = make_tenant()
    Organization.objects.update(created_at=months[0].start("UTC"))
    use_around(database, acme, old_price(months[0].start("UTC")), months)
    close_due_months()
    assert broken(database, "I19c") == []

    with connection.cursor() as cursor:
        cursor.execute("set session_replication_role = replica")
        cursor.execute(f"update {change} where number = 2")
        cursor.execute("set session_replication_role = default")

    assert any(named in what for what in broken(database, "I19c"))


def test_changing_the_zone_gives_no_fresh_window(database: str) -> None:
    acme = make_tenant()
    version, price = make_price(input_usd="1.00")
    add_budget(acme.org, BudgetSpec("day", limit_nanos=3_000), actor="test")
    first = hold_request(acme, version, 3_000)
    run_tick(database, holds=[first])
    run_tick(
        database, closings=[settlement(first.request_id, price, input_tokens=3, output_tokens=0)]
    )

    for zone in ZONES:
        move(acme, zone)
        (refusal,) = run_tick(database, holds=[hold_request(acme, version, 1)]).held.values()
        assert refusal is not None
        assert refusal.why == "budget"
        (standing,) = read_key_standing(acme.key).budgets
        assert (standing.used, standing.left) == (3_000, 0)

    assert BudgetWindow.objects.get().settled_nanos == 3_000
    assert_proven(database)


def test_a_changed_zone_takes_effect_where_the_present_window_ends(database: str) -> None:
    acme = make_tenant()
    noon = datetime(2026, 1, 10, 12, tzinfo=UTC)
    priced = old_price(datetime(2026, 1, 1, tzinfo=UTC))
    add_budget(acme.org, BudgetSpec("day", limit_nanos=10_000), actor="test")
    Budget.objects.update(effective_from=datetime(2026, 1, 1, tzinfo=UTC))
    use_at(database, acme, noon, priced, input_tokens=1, output_tokens=0)
    move(acme, "America/New_York")

    for hours in (6, 13, 18):
        use_at(
            database, acme, noon + timedelta(hours=hours), priced, input_tokens=1, output_tokens=0
        )

    windows = BudgetWindow.objects.order_by("window_start")
    assert [(w.window_start, w.window_end, w.settled_nanos) for w in windows] == [
        (datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC), 2_000),
        (datetime(2026, 1, 11, tzinfo=UTC), datetime(2026, 1, 11, 5, tzinfo=UTC), 1_000),
        (datetime(2026, 1, 11, 5, tzinfo=UTC), datetime(2026, 1, 12, 5, tzinfo=UTC), 1_000),
    ]
    assert_proven(database)


@pytest.mark.tampers
def test_the_proof_names_windows_that_overlap(database: str) -> None:
    acme = make_tenant()
    budget = add_budget(acme.org, BudgetSpec("day", limit_nanos=10_000), actor="test")
    for hour in (0, 12):
        BudgetWindow.objects.create(
            budget=budget,
            window_start=datetime(2026, 1, 10, hour, tzinfo=UTC),
            window_end=datetime(2026, 1, 11, hour, tzinfo=UTC),
        )

    assert broken(database, "I9c") == [f"budget {budget.pk} from 2026-01-10 12:00:00+00"]

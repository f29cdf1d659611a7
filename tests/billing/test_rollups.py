"""Roll-ups: they equal the calls at every moment, and long ranges are read from them alone."""

import threading
from datetime import UTC, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.database import connect_sync
from billing.equations import EQUATIONS
from billing.models import UsageEvent, UsageRollup
from billing.overview import read_spend
from billing.rollups import UsageFilter, read_total_nanos, read_usage, roll_up
from billing.usage import Usage
from kernel import clock
from tests.billing.past import use_at
from tests.billing.test_invoices import last_month, old_price
from tests.books import assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant
from tests.pages.month import seed_month

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def spend(database: str, tenant: Tenant, calls: int = 1) -> None:
    """Settle calls of now: 10 tokens in, 20 out, 50,000 nanos each."""
    version, price = make_price()
    requests = [hold_request(tenant, version, 1_000_000) for _ in range(calls)]
    run_tick(database, holds=requests)
    closings = [
        settlement(each.request_id, price, input_tokens=10, output_tokens=20) for each in requests
    ]
    run_tick(database, closings=closings)


def roll(database: str) -> int:
    with connect_sync(database, "roll-up", statement_timeout_ms=10_000) as store:
        return roll_up(store)


def lately(tenant: Tenant, width_s: int, **more: Any) -> UsageFilter:
    now = clock.now()
    return UsageFilter(
        tenant.org.pk, now - timedelta(days=70), now + timedelta(days=1), width_s, **more
    )


def broken_rollups() -> list[Any]:
    (equation,) = (each for each in EQUATIONS if each.number == "I17")
    with connection.cursor() as cursor:
        cursor.execute(equation.query)
        return list(cursor.fetchall())


def tail_rows() -> int:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from billing_usagetail")
        rows: int = cursor.fetchone()[0]
    return rows


def test_usage_is_in_the_sums_before_it_is_rolled_up_and_after(database: str) -> None:
    acme = make_tenant()
    spend(database, acme, 3)
    before = read_usage(lately(acme, DAY_S), most=10)

    moved = roll(database)

    assert moved == 1
    (day,) = before
    assert (day.requests, day.amount_nanos) == (3, 150_000)
    assert day.usage == Usage(input=30, output=60, request=3)
    assert read_usage(lately(acme, DAY_S), most=10) == before
    (row,) = UsageRollup.objects.all()
    sums = (row.requests, int(row.input), int(row.output), int(row.amount_nanos))
    assert sums == (3, 30, 60, 150_000)
    assert (row.first_token_ms, row.first_token_count) == (3, 3)
    assert (row.duration_ms, row.duration_count) == (6, 3)
    assert tail_rows() == 0
    assert_proven(database)


def test_rolling_up_twice_is_rolling_up_once(database: str) -> None:
    acme = make_tenant()
    spend(database, acme)

    moved = [roll(database) for _ in range(3)]

    assert moved == [1, 0, 0]
    assert read_total_nanos(acme.org.pk) == 50_000
    assert_proven(database)


def test_usage_that_settles_weeks_late_is_added_to_its_own_hour(database: str) -> None:
    month, at = last_month()
    acme = make_tenant()
    priced = old_price(month, input_usd="1.00", output_usd="2.00")
    use_at(database, acme, at, priced, input_tokens=1, output_tokens=1)
    roll(database)

    use_at(database, acme, at, priced, input_tokens=2, output_tokens=2)
    fresh = read_usage(lately(acme, HOUR_S), most=10)
    roll(database)

    (hour,) = fresh
    assert hour.bucket_at == at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    assert (hour.requests, hour.amount_nanos) == (2, 9_000)
    (row,) = UsageRollup.objects.all()
    assert (row.requests, int(row.amount_nanos)) == (2, 9_000)
    assert broken_rollups() == []


def test_a_settlement_that_commits_after_a_later_one_was_rolled_up_is_not_missed(
    database: str,
) -> None:
    acme, globex = make_tenant("Acme"), make_tenant("Globex")
    version, price = make_price()
    slow = hold_request(acme, version, 1_000_000)
    run_tick(database, holds=[slow])
    closing = settlement(slow.request_id, price, input_tokens=10, output_tokens=20)
    globex_calls = [hold_request(globex, version, 1_000_000)]
    run_tick(database, holds=globex_calls)
    later = settlement(globex_calls[0].request_id, price, input_tokens=1, output_tokens=1)

    with (
        connect_sync(database, "slow", statement_timeout_ms=10_000) as store,
        store.transaction(),
    ):
        rows = orjson.dumps([closing.as_row()]).decode()
        store.execute("select close_holds(%s::jsonb, now())", (rows,))
        run_tick(database, closings=[later])
        meanwhile = (roll(database), read_total_nanos(acme.org.pk))

    assert meanwhile == (1, 0)
    assert read_total_nanos(acme.org.pk) == 50_000
    assert roll(database) == 1
    assert read_total_nanos(acme.org.pk) == 50_000
    assert_proven(database)


def test_a_roll_up_that_dies_half_way_has_moved_nothing_and_the_next_one_moves_all(
    database: str,
) -> None:
    acme = make_tenant()
    spend(database, acme, 2)

    store = connect_sync(database, "dies", statement_timeout_ms=10_000)
    store.execute("begin")
    assert store.execute("select roll_up(1000)").fetchone() == (1,)
    with connection.cursor() as other:
        other.execute("select pg_terminate_backend(%s, 5000)", [store.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        store.execute("commit")

    assert (UsageRollup.objects.count(), tail_rows()) == (0, 1)
    assert read_total_nanos(acme.org.pk) == 100_000
    assert roll(database) == 1
    assert read_total_nanos(acme.org.pk) == 100_000
    assert_proven(database)


def test_a_second_roll_up_at_the_same_time_moves_nothing_and_waits_for_nobody(
    database: str,
) -> None:
    acme = make_tenant()
    spend(database, acme)

    with (
        connect_sync(database, "first", statement_timeout_ms=10_000) as store,
        store.transaction(),
    ):
        first = store.execute("select roll_up(1000)").fetchone()
        second = roll(database)

    assert (first, second) == ((1,), 0)
    assert read_total_nanos(acme.org.pk) == 50_000


def test_sums_are_exact_while_calls_settle_and_roll_ups_run(database: str) -> None:
    tenants = [make_tenant(f"Tenant {number}") for number in range(3)]
    version, price = make_price()
    stop = threading.Event()
    seen: list[Any] = []

    def settle(tenant: Tenant) -> None:
        for _ in range(15):
            requests = [hold_request(tenant, version, 1_000_000) for _ in range(4)]
            run_tick(database, holds=requests)
            run_tick(
                database,
                closings=[
                    settlement(each.request_id, price, input_tokens=10, output_tokens=20)
                    for each in requests
                ],
            )

    def keep_rolling() -> None:
        while not stop.is_set():
            roll(database)

    roller = threading.Thread(target=keep_rolling)
    settlers = [threading.Thread(target=settle, args=(tenant,)) for tenant in tenants]
    for thread in (roller, *settlers):
        thread.start()
    while any(thread.is_alive() for thread in settlers):
        seen += broken_rollups()
    stop.set()
    roller.join()
    roll(database)

    assert seen == []
    assert [read_total_nanos(tenant.org.pk) for tenant in tenants] == [60 * 50_000] * 3
    assert tail_rows() == 0
    assert_proven(database)


@pytest.mark.tampers
def test_the_proof_names_a_roll_up_that_says_something_else_than_the_calls(database: str) -> None:
    acme = make_tenant()
    spend(database, acme)
    roll(database)

    UsageRollup.objects.update(output=21)

    ((what, rolled, used),) = broken_rollups()
    assert what.endswith(" m output")
    assert (rolled, used) == (21, 20)


@pytest.mark.tampers
def test_usage_that_was_written_past_the_trigger_breaks_the_proof(database: str) -> None:
    acme = make_tenant()
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_usageevent disable trigger note_usage")
    spend(database, acme)

    assert {str(what).rsplit(" ", 1)[1] for what, _, _ in broken_rollups()} == {
        *("requests", "input", "output", "request", "amount_nanos"),
        *("first_token_ms", "first_token_count", "duration_ms", "duration_count"),
    }


@pytest.mark.tampers
@pytest.mark.parametrize("width_s", [HOUR_S, DAY_S])
def test_hours_and_days_never_touch_the_calls(database: str, width_s: int) -> None:
    acme = make_tenant(credit_usd="100000")
    seed_month(acme.org, [acme.key], calls_a_day=20)
    roll(database)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        sums = read_usage(lately(acme, width_s), most=10_000)
    with connection.cursor() as cursor:
        cursor.execute(f"explain (format text) {queries[0]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert len(queries) == 1
    assert "billing_usagerollup" in plan
    assert "billing_usageevent" not in plan
    assert sum(each.requests for each in sums) == UsageEvent.objects.count()


@pytest.mark.tampers
def test_minutes_are_those_of_the_calls_and_sum_to_the_hours(database: str) -> None:
    acme = make_tenant(credit_usd="100000")
    total = seed_month(acme.org, [acme.key], days=2, calls_a_day=30)

    minutes = read_usage(lately(acme, MINUTE_S), most=10_000)
    hours = read_usage(lately(acme, HOUR_S), most=10_000)

    assert sum(each.amount_nanos for each in minutes) == total
    assert sum(each.amount_nanos for each in hours) == total
    assert all(each.bucket_at.second == 0 for each in minutes)
    assert len(minutes) > len(hours)


@pytest.mark.tampers
def test_the_page_and_the_roll_ups_show_the_same_money(database: str) -> None:
    acme = make_tenant(credit_usd="100000")
    seed_month(acme.org, [acme.key], days=29)
    roll(database)
    spend(database, acme)

    page = read_spend(acme.org)
    days = read_usage(lately(acme, DAY_S), most=100)

    shown = {day.day: (day.amount_nanos, day.calls) for day in page.days if day.calls}
    assert shown == {each.bucket_at.date(): (each.amount_nanos, each.requests) for each in days}


def test_another_organization_has_no_part_in_the_sums(database: str) -> None:
    acme, globex = make_tenant("Acme"), make_tenant("Globex")
    spend(database, acme)

    named = lately(globex, DAY_S, keys=(acme.key.public_id,))

    assert read_usage(lately(globex, DAY_S), most=10) == []
    assert read_usage(named, most=10) == []
    assert read_total_nanos(globex.org.pk) == 0

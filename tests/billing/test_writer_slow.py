"""A batch that takes the database too long: nothing waits for ever, and no settlement is lost."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from billing.holds import Act, Closing, HoldRequest
from billing.journal import Journal
from billing.models import Hold, Quarantine, UsageEvent
from billing.pricing import Price
from billing.slow import SlowClosings
from billing.tick import Fault, fault_of
from billing.writer import Writer
from kernel import clock
from tests.billing.test_writer import run, running_writer, stuck_on
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant

OBSTACLE: LiteralString = """
create function stand_in_the_way() returns trigger language plpgsql as $$ begin
  if new.request_id = tg_argv[0] then raise exception 'too long' using errcode = '54000'; end if;
  return new;
end $$
"""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.tick_connection.STATEMENT_TIMEOUT_MS", 200)


async def until_owed(journal: Journal, calls: int) -> None:
    for _ in range(1_000):
        if journal.owed == calls:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{journal.owed} calls are owed")


def settle(writer: Writer, journal: Journal, requests: Sequence[HoldRequest], price: Price) -> None:
    for request in requests:
        closing = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
        journal.open_calls([request.request_id])
        journal.close_call(closing)
        writer.close(closing)


def test_one_settlement_that_takes_too_long_keeps_neither_its_neighbours_nor_holds_waiting(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(40)]
    run_tick(database, holds=requests)
    stuck, late = requests[7], hold_request(make_tenant("Globex"), version, 5_000)

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, journal):
            with stuck_on(database, stuck.request_id):
                settle(writer, journal, requests, price)
                await until_owed(journal, 1)
                assert await writer.hold(late) is None
                writer.close(Closing(late.request_id, Act.RELEASE))
            await until_owed(journal, 0)

    run(work())
    assert UsageEvent.objects.count() == 40
    assert Quarantine.objects.count() == 0
    assert acme.account.deferred_nanos == 100 * 10**9 - 40 * 3_000
    assert_proven(database, tmp_path)


def test_while_every_settlement_takes_too_long_none_is_lost_and_afterwards_each_is_charged_once(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(9)]
    run_tick(database, holds=requests)
    lock = "select 1 from billing_billingaccount where org_id = %s for update"

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, journal):
            with psycopg.connect(database) as other:
                other.execute(lock, (acme.org.pk,))
                settle(writer, journal, requests, price)
                refusal = await writer.hold(hold_request(acme, version, 5_000))
                assert refusal is not None
                assert refusal.why == "unavailable"
                await asyncio.sleep(1)
                assert journal.owed == len(requests)
            await until_owed(journal, 0)

    run(work())
    assert UsageEvent.objects.count() == 9
    assert not Hold.objects.filter(state="held").exists()
    assert Quarantine.objects.count() == 0
    assert_proven(database, tmp_path)


@pytest.mark.tampers
def test_a_settlement_beyond_a_limit_of_the_database_is_quarantined_and_its_neighbours_go_on(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(9)]
    run_tick(database, holds=requests)
    with psycopg.connect(database) as owner:
        owner.execute(OBSTACLE)
        owner.execute(
            "create trigger stand_in_the_way before insert on billing_usageevent for each row"
            f" execute function stand_in_the_way('{requests[4].request_id}')".encode()
        )

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, journal):
            settle(writer, journal, requests, price)

    run(work())
    assert UsageEvent.objects.count() == 8
    assert [row.request_id for row in Quarantine.objects.all()] == [requests[4].request_id]


def test_what_takes_too_long_alone_waits_twice_as_long_each_time_up_to_half_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now_s)
    slow = SlowClosings()
    pauses = []

    slow.add(Closing("req_x", Act.RELEASE))
    for _ in range(8):
        assert not slow.are_due
        pauses.append(slow.due_at_s - now_s)
        now_s = slow.due_at_s
        slow.add(slow.take())

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (psycopg.errors.QueryCanceled(), Fault.SLOW),
        (psycopg.errors.OutOfMemory(), Fault.SLOW),
        (psycopg.errors.StatementTooComplex(), Fault.REFUSED),
        (psycopg.errors.NumericValueOutOfRange(), Fault.REFUSED),
        (ValueError(), Fault.REFUSED),
        (psycopg.errors.AdminShutdown(), Fault.LOST),
        (psycopg.errors.DiskFull(), Fault.LOST),
        (psycopg.OperationalError("the connection is lost"), Fault.LOST),
        (psycopg.InterfaceError(), Fault.LOST),
        (OSError(), Fault.LOST),
        (MemoryError(), Fault.LOST),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_only_what_says_something_against_a_record_may_bring_it_into_quarantine(
    error: Exception, fault: Fault
) -> None:
    assert fault_of(error, is_connected=True) is fault


def test_a_timeout_over_a_connection_that_broke_says_nothing_of_the_outcome() -> None:
    assert fault_of(psycopg.errors.QueryCanceled(), is_connected=False) is Fault.LOST

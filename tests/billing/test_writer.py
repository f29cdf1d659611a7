"""The writer: group commit, unknown outcomes, poison, adoption of what the dead left."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing.adoption import adopt_orphans
from billing.database import connect_sync
from billing.holds import Act, Closing, HoldRequest
from billing.journal import Journal
from billing.models import Hold, Quarantine, UsageEvent
from billing.tick import close_calls
from billing.usage import Usage
from billing.writer import Writer
from kernel.ids import new_request_id
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant


@asynccontextmanager
async def running_writer(database: str, folder: Path) -> AsyncIterator[tuple[Writer, Journal]]:
    journal = Journal(folder, "here")
    writer = Writer(database, journal)
    await writer.start()
    try:
        yield writer, journal
    finally:
        await writer.stop(timeout_s=5)
        journal.close()


@contextmanager
def stuck_on(database: str, request_id: str) -> Iterator[None]:
    """Let whoever would settle one call wait for as long as the block lasts."""
    lock = "select 1 from billing_hold where request_id = %s for update"
    with psycopg.connect(database) as other:
        other.execute(lock, (request_id,))
        yield


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_hold_in_anothers_place_finds_its_money_and_key_free_whatever_else_waits(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant(credit_usd="0.000006")
    version, _ = make_price()
    first = hold_request(acme, version, 5_000)._replace(idem_key="once", idem_body="same")
    second = first._replace(request_id=new_request_id(), instead_of=first.request_id)
    third = second._replace(request_id=new_request_id(), instead_of=second.request_id)
    too_much = third._replace(amount_nanos=6_001)

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, journal):
            journal.open_calls([first.request_id])
            assert await writer.hold(first) is None
            for _ in range(300):
                writer.close(Closing(new_request_id(), Act.RELEASE))
            assert await writer.hold(second) is None
            refusal = await writer.hold(too_much)
            assert refusal is not None
            assert refusal.why == "credit"
            assert journal.owed == 0

    run(work())
    states = dict(Hold.objects.values_list("request_id", "state"))
    assert states == {first.request_id: "released", second.request_id: "released"}
    assert acme.account.held_nanos == 0
    assert_proven(database, tmp_path)


def test_a_hundred_holds_and_their_settlements_go_through_a_few_commits(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(100)]

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, journal):
            answers = [writer.hold(request) for request in requests]
            for request in requests:
                journal.open_calls([request.request_id])
            assert await asyncio.gather(*answers) == [None] * 100
            for request in requests:
                closing = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
                journal.close_call(closing)
                writer.close(closing)

    run(work())

    assert UsageEvent.objects.count() == 100
    assert UsageEvent.objects.values("ledger_txn_id").distinct().count() < 20
    assert list(tmp_path.glob("*.journal")) == []
    assert_proven(database, tmp_path)


def test_a_hold_granted_to_a_caller_who_has_left_is_released(database: str, tmp_path: Path) -> None:
    acme = make_tenant()
    version, _ = make_price()

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, _):
            answer = writer.hold(hold_request(acme, version, 5_000))
            await asyncio.sleep(0)
            answer.cancel()
            await asyncio.sleep(0.2)

    run(work())

    assert not Hold.objects.filter(state="held").exists()
    assert acme.account.held_nanos == 0


@pytest.mark.tampers
def test_one_poisoned_settlement_is_quarantined_and_its_neighbours_go_on(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(9)]
    run_tick(database, holds=requests)
    poison = Closing(
        requests[4].request_id, Act.SETTLE, usage=Usage(input=10**30), charge_nanos=1, provider="x"
    )

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, _):
            for place, request in enumerate(requests):
                good = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
                writer.close(poison if place == 4 else good)

    run(work())

    assert UsageEvent.objects.count() == 8
    assert [row.request_id for row in Quarantine.objects.all()] == [poison.request_id]


@pytest.mark.tampers
def test_a_settlement_without_a_hold_goes_to_quarantine(database: str, tmp_path: Path) -> None:
    make_tenant()
    _, price = make_price()
    stray = settlement(new_request_id(), price, input_tokens=1, output_tokens=1)

    async def work() -> None:
        async with running_writer(database, tmp_path) as (writer, _):
            writer.close(stray)

    run(work())

    assert Quarantine.objects.get().reason == "no open hold to settle: missing"
    assert UsageEvent.objects.count() == 0


def test_without_a_database_holds_are_refused_within_the_second(tmp_path: Path) -> None:
    refused = []

    async def work() -> None:
        journal = Journal(tmp_path, "here")
        writer = Writer("postgresql://nobody@/nothing?host=/nonexistent", journal)
        await writer.start()
        request = hold_request_without_rows()
        refused.append(await asyncio.wait_for(writer.hold(request), 1))
        await writer.stop(timeout_s=0.1)
        journal.close()

    run(work())

    assert [refusal and refusal.why for refusal in refused] == ["unavailable"]


def hold_request_without_rows() -> HoldRequest:
    return HoldRequest(new_request_id(), 1, 1, 1, "m", 1, 5, 60)


def abandon(journal: Journal) -> bytes:
    """Leave a journal as ``kill -9`` does: unlocked, on disk."""
    os.close(journal._current.descriptor)
    return journal._current.path.read_bytes()


def test_a_dead_process_is_settled_at_its_last_word(database: str, tmp_path: Path) -> None:
    acme = make_tenant()
    version, price = make_price()
    opened, running, ended, done = (hold_request(acme, version, 90_000) for _ in range(4))
    run_tick(database, holds=[opened, running, ended, done])
    journal = Journal(tmp_path, "dead")
    for request in (opened, running, ended, done):
        journal.open_calls([request.request_id])
    for words in (5, 9):
        journal.checkpoint(
            settlement(running.request_id, price, input_tokens=3, output_tokens=words)
        )
    journal.close_call(settlement(ended.request_id, price, input_tokens=3, output_tokens=20))
    finished = settlement(done.request_id, price, input_tokens=3, output_tokens=30)
    journal.close_call(finished)
    run_tick(database, closings=[finished])
    journal.mark_done([done.request_id])
    abandon(journal)

    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        adopted = adopt_orphans(tmp_path, lambda calls: close_calls(connection, calls, "x"))

    rows = {row.request_id: (row.outcome, row.output) for row in UsageEvent.objects.all()}
    assert adopted == 3
    assert rows == {
        running.request_id: ("interrupted", 9),
        ended.request_id: ("completed", 20),
        done.request_id: ("completed", 30),
    }
    assert Hold.objects.get(request_id=opened.request_id).state == "released"
    assert list(tmp_path.glob("*.journal")) == []
    assert_proven(database, tmp_path)


@pytest.mark.tampers
def test_one_poisoned_record_of_a_dead_process_is_quarantined_and_all_others_are_adopted(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(9)]
    run_tick(database, holds=requests)
    poison = Closing(
        requests[4].request_id, Act.SETTLE, usage=Usage(input=10**30), charge_nanos=1, provider="x"
    )
    journal = Journal(tmp_path, "dead")
    for place, request in enumerate(requests):
        good = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
        journal.open_calls([request.request_id])
        journal.close_call(poison if place == 4 else good)
    abandon(journal)

    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        adopted = adopt_orphans(tmp_path, lambda calls: close_calls(connection, calls, "x"))

    assert adopted == 9
    assert UsageEvent.objects.count() == 8
    assert [row.request_id for row in Quarantine.objects.all()] == [poison.request_id]
    assert list(tmp_path.glob("*.journal")) == []


def test_what_takes_too_long_alone_stays_in_its_journal_and_its_neighbours_are_adopted(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(5)]
    run_tick(database, holds=requests)
    journal = Journal(tmp_path, "dead")
    for request in requests:
        journal.open_calls([request.request_id])
        journal.close_call(settlement(request.request_id, price, input_tokens=1, output_tokens=1))
    abandon(journal)

    with connect_sync(database, "test", statement_timeout_ms=200) as connection:
        with stuck_on(database, requests[1].request_id):
            adopt_orphans(tmp_path, lambda calls: close_calls(connection, calls, "x"))
        settled_meanwhile = set(UsageEvent.objects.values_list("request_id", flat=True))
        adopted = adopt_orphans(tmp_path, lambda calls: close_calls(connection, calls, "x"))

    assert settled_meanwhile == {r.request_id for r in requests} - {requests[1].request_id}
    assert adopted == 5
    assert UsageEvent.objects.count() == 5
    assert Quarantine.objects.count() == 0
    assert list(tmp_path.glob("*.journal")) == []
    assert_proven(database, tmp_path)


def test_an_owner_whose_calls_cannot_be_closed_keeps_no_other_from_being_adopted(
    tmp_path: Path,
) -> None:
    for owner in ("a", "b", "c"):
        journal = Journal(tmp_path, owner)
        journal.open_calls([f"req_{owner}"])
        abandon(journal)

    def apply(calls: Sequence[Closing]) -> None:
        if calls[0].request_id == "req_b":
            raise psycopg.errors.QueryCanceled

    adopted = adopt_orphans(tmp_path, apply)

    assert adopted == 2
    assert [path.name[0] for path in tmp_path.glob("*.journal")] == ["b"]


def test_a_living_processes_journal_is_left_alone(database: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path, "alive")
    journal.open_calls(["req_x"])

    adopted = adopt_orphans(tmp_path, lambda _: pytest.fail("must not be adopted"))

    assert adopted == 0
    journal.mark_done(["req_x"])
    journal.close()

"""The walls the promises stand on, one test a wall; ``test_mutations`` takes each away once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import psycopg
import pytest

from billing.holds import Closing, HoldRequest
from billing.journal import Journal, closings_owed, read_records
from billing.pricing import Price
from billing.usage import Usage
from billing.writer import Writer
from gateway.books import Books
from gateway.call import Call
from gateway.chat import Answer, ChatRequest, ChoiceFinished, StopReason, StreamEvent, TextDelta
from gateway.dialects import openai
from gateway.metering import Meter
from gateway.relay import Relay
from gateway.sale import Sale
from gateway.tranches import Tranches
from gateway.watch import Patience
from kernel import clock
from tests.books import assert_proven, run_tick, settlement
from tests.calls import wait_for
from tests.factories import hold_request, make_price, make_tenant


def is_blocked(connection: psycopg.Connection[Any]) -> bool:
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
    return connection.execute(waiting, (connection.info.dbname,)).fetchone() is not None


def test_a_tick_locks_accounts_in_the_order_of_their_ids(database: str) -> None:
    first, second = make_tenant("Acme"), make_tenant("Globex")
    assert first.org.pk < second.org.pk
    version, _ = make_price()
    holds: list[HoldRequest] = [hold_request(t, version, 5_000) for t in (second, first)]
    lock = "select 1 from billing_billingaccount where org_id = %s for update nowait"
    ticking = threading.Thread(target=run_tick, args=(database,), kwargs={"holds": holds})

    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as watcher:
        other.execute(lock, (first.org.pk,))
        ticking.start()
        wait_for(lambda: is_blocked(watcher), what="the tick's waiting for the first account")
        # whoever follows the order can go on: the waiting tick has nothing that comes later
        other.execute(lock, (second.org.pk,))
    ticking.join(10)

    assert (first.account.held_nanos, second.account.held_nanos) == (5_000, 5_000)
    assert_proven(database)


@pytest.mark.parametrize(
    ("table", "column"), [("billing_hold", "idem_key"), ("billing_usageid", "request_id")]
)
def test_the_database_itself_refuses_a_second_hold_or_charge(
    database: str, table: str, column: str
) -> None:
    acme = make_tenant()
    version, price = make_price()
    request = hold_request(acme, version, 5_000)
    run_tick(database, holds=[request])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=1, output_tokens=1)]
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update billing_hold set idem_key = 'once'")
        copy = f"insert into {table} select (jsonb_populate_record(t, %s::jsonb)).* from {table} t"  # noqa: S608 # our own table
        other_id = '{"request_id": "req_other"}' if column == "idem_key" else "{}"

        with pytest.raises(psycopg.errors.UniqueViolation, match=column):
            connection.execute(copy, (other_id,))


class TwoWords:
    """An upstream that says two words and ends."""

    speaks_events: Literal[True] = True

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        yield [TextDelta(0, " word", 1), TextDelta(0, " word", 1)]
        yield [ChoiceFinished(0, StopReason.END)]

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("is_stream", [True, False])
def test_when_the_last_bytes_leave_the_whole_charge_is_in_the_journal(
    tmp_path: Path, *, is_stream: bool
) -> None:
    journal = Journal(tmp_path, "here")
    found_at_end: list[tuple[str, int]] = []

    def owed() -> list[Closing]:
        content = b"".join(path.read_bytes() for path in tmp_path.glob("*.journal"))
        return closings_owed(read_records(content))

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message["more_body"]:
            (closing,) = owed()
            found_at_end.append((str(closing.outcome), closing.usage.output))

    async def work() -> None:
        call = Call({}, b"", openai.DIALECT, send)
        writer = Writer("postgresql:///nowhere", journal)
        price = Price(1, Usage(input=1_000_000, output=1_000_000))
        meter = Meter(call.request_id, price, 1, 1, 10)
        tranches = Tranches(writer, call.request_id, price, held_nanos=10**9, covered=10, most=10)
        sale = Sale(Books(journal, writer, hold_wait_s=1), cast("Any", None), meter, tranches)
        journal.open_calls([call.request_id])
        request = ChatRequest("m", (), {}, stream=is_stream)
        answer = Answer("chatcmpl-1", "m", 1, "fp", call.request_id)
        patience = Patience(clock.monotonic(), 60, 30, 15, 600, 600)
        await Relay(call, request, answer, sale, None).run(TwoWords(), patience)

    asyncio.run(work())
    journal.close()

    assert found_at_end == [("completed", 2)]

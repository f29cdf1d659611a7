"""The books of a process: what was asked for is closed in the journal, whatever the caller did."""

import asyncio
from pathlib import Path

import pytest

from billing.journal import Journal
from billing.models import Hold
from billing.writer import Writer
from gateway.books import Books
from kernel.errors import UnavailableError
from tests.books import assert_proven
from tests.factories import hold_request, make_price, make_tenant


def test_a_hold_nobody_waited_for_is_owed_no_longer_once_the_writer_is_back(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, _ = make_price()
    requests = [hold_request(acme, version, 5_000) for _ in range(2)]

    async def work() -> int:
        journal = Journal(tmp_path, "here")
        writer = Writer(database, journal)
        books = Books(journal, writer, hold_wait_s=0.05)
        with pytest.raises(UnavailableError):
            await books.hold(requests[0])
        leaving = asyncio.ensure_future(books.hold(requests[1]))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert journal.owed == 0, "neither has left"
        await writer.start()
        await writer.stop(timeout_s=5)
        owed = journal.owed
        journal.close()
        return owed

    assert asyncio.run(work()) == 0
    assert not Hold.objects.filter(state="held").exists()
    assert list(tmp_path.glob("*.journal")) == []
    assert_proven(database, tmp_path)


def test_a_hold_of_unknown_outcome_stays_owed_until_its_release_is_committed(
    database: str, tmp_path: Path
) -> None:
    acme = make_tenant()
    version, _ = make_price()
    request = hold_request(acme, version, 5_000)

    async def work() -> tuple[int, int]:
        journal = Journal(tmp_path, "here")
        writer = Writer(database, journal)
        books = Books(journal, writer, hold_wait_s=5)
        asking = asyncio.ensure_future(books.hold(request))
        await asyncio.sleep(0)
        journal.open_calls([request.request_id])  # as the writer does when it leaves
        writer._queues.refuse_holds()
        with pytest.raises(UnavailableError):
            await asking
        before = journal.owed
        await writer.start()
        await writer.stop(timeout_s=5)
        after = journal.owed
        journal.close()
        return before, after

    assert asyncio.run(work()) == (1, 0)

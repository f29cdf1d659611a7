"""I26: what a dead process journalled and nobody adopted is named."""

import fcntl
import os
from pathlib import Path

import pytest

from billing.adoption import adopt_orphans
from billing.database import connect_sync
from billing.holds import Closing
from billing.journal import Journal
from billing.proof import prove
from billing.tick import close_calls
from kernel import clock
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant


def leave_behind(database: str, folder: Path, *, age_s: int) -> tuple[str, Path]:
    """A call whose end is in the journal of a process that is gone since ``age_s``."""
    acme = make_tenant()
    version, price = make_price()
    request = hold_request(acme, version, 9_000)
    run_tick(database, holds=[request])
    journal = Journal(folder, "dead")
    journal.open_calls([request.request_id])
    journal.close_call(settlement(request.request_id, price, input_tokens=1, output_tokens=1))
    journal.close()
    (path,) = folder.glob("*.journal")
    os.utime(path, (clock.now_s() - age_s,) * 2)
    return request.request_id, path


def broken(database: str, folder: Path) -> list[str]:
    with connect_sync(database, "proof", statement_timeout_ms=60_000) as books:
        proof = prove(books, folder)
    return [f"{f.number} {row[0]}" for f in proof.findings for row in f.rows]


def test_an_end_nobody_adopted_is_named_until_it_is(database: str, tmp_path: Path) -> None:
    request_id, _ = leave_behind(database, tmp_path, age_s=120)

    assert broken(database, tmp_path) == [f"I26 {request_id}"]

    def apply(closings: "list[Closing]") -> None:
        with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
            close_calls(connection, closings, "adoption")

    assert adopt_orphans(tmp_path, lambda closings: apply(list(closings))) == 1
    assert_proven(database, tmp_path)


@pytest.mark.parametrize(("age_s", "is_locked"), [(0, False), (120, True)])
def test_a_living_process_and_one_to_be_adopted_at_once_owe_nothing_yet(
    database: str, tmp_path: Path, *, age_s: int, is_locked: bool
) -> None:
    _, path = leave_behind(database, tmp_path, age_s=age_s)
    with path.open() as owner:
        if is_locked:
            fcntl.flock(owner, fcntl.LOCK_EX)

        assert broken(database, tmp_path) == []

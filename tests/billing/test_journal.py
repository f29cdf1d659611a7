"""The journal: torn records, full disks, segments, and what a power cut leaves."""

import os
from pathlib import Path
from typing import Any

import pytest

from billing.adoption import adopt_orphans
from billing.holds import Act, Closing, Outcome
from billing.journal import Journal, closings_owed, read_records
from billing.usage import Usage


def abandon(journal: Journal) -> bytes:
    """Leave a journal as ``kill -9`` does: unlocked, on disk."""
    for descriptor in [each.descriptor for each in journal._older] + journal._ended:
        os.close(descriptor)
    os.close(journal._current.descriptor)
    return journal._current.path.read_bytes()


def test_a_journal_torn_at_any_byte_never_yields_a_wrong_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "torn")
    journal.open_calls(["req_1"])
    journal.close_call(Closing("req_1", Act.RELEASE))
    content = abandon(journal)
    whole = list(read_records(content))

    for cut in range(len(content)):
        records = list(read_records(content[:cut]))
        assert records == whole[: len(records)]
    assert closings_owed(whole) == [Closing("req_1", Act.RELEASE)]


def test_a_flipped_bit_makes_its_record_disappear(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "bent")
    journal.open_calls(["req_1"])
    content = bytearray(abandon(journal))

    for place in range(len(content) - 1):
        bent = bytes(content[:place]) + bytes([content[place] ^ 1]) + bytes(content[place + 1 :])
        assert list(read_records(bent)) in ([], list(read_records(bytes(content))))


def test_a_full_disk_refuses_new_calls_and_loses_no_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "full")
    journal.open_calls(["req_1"])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("billing.journal.os.write", full)
        assert not journal.open_calls(["req_2"])
        journal.close_call(Closing("req_1", Act.RELEASE))  # the writer has it in memory

    assert journal.owed == 1
    journal.mark_done(["req_1"])
    journal.close()


def test_a_segment_is_deleted_when_nothing_opened_in_it_is_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.journal.SEGMENT_BYTES", 200)
    journal = Journal(tmp_path, "long")
    ids = [f"req_{number}" for number in range(50)]

    for request_id in ids:
        journal.open_calls([request_id])
    grown = len(list(tmp_path.glob("*.journal")))
    journal.mark_done(ids)

    assert grown > 5
    assert len(list(tmp_path.glob("*.journal"))) <= 2
    journal.close()
    assert list(tmp_path.glob("*.journal")) == []


def test_a_call_in_two_segments_is_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.journal.SEGMENT_BYTES", 10)
    journal = Journal(tmp_path, "two")
    journal.open_calls(["req_1"])
    journal.close_call(
        Closing(
            "req_1", Act.SETTLE, usage=Usage(input=1), charge_nanos=5, outcome=Outcome.COMPLETED
        )
    )
    abandon(journal)
    seen: list[Closing] = []

    adopt_orphans(tmp_path, seen.extend)

    assert [(closing.act, closing.charge_nanos) for closing in seen] == [(Act.SETTLE, 5)]


def test_a_record_that_was_cut_short_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "cut")
    journal.open_calls(["req_1"])
    write = os.write

    with monkeypatch.context() as patch:
        patch.setattr("billing.journal.os.write", lambda place, line: write(place, line[:30]))
        journal.checkpoint(Closing("req_1", Act.SETTLE, usage=Usage(input=1), charge_nanos=5))
    final = Closing(
        "req_1", Act.SETTLE, usage=Usage(input=1), charge_nanos=77, outcome=Outcome.COMPLETED
    )
    journal.close_call(final)

    assert closings_owed(read_records(abandon(journal))) == [final]


def test_what_was_written_before_a_new_segment_is_brought_to_the_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.journal.SEGMENT_BYTES", 100)
    synced: set[Path] = set()

    def note(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr("billing.journal.os.fdatasync", note)
    monkeypatch.setattr("billing.journal.os.fsync", note)
    journal = Journal(tmp_path, "turned")
    for number in range(10):
        journal.open_calls([f"req_{number}"])

    journal.sync()

    files = set(tmp_path.glob("*.journal"))
    assert len(files) > 2
    assert synced == {tmp_path, *files}
    journal.mark_done([f"req_{number}" for number in range(10)])
    journal.close()


def test_a_journal_of_before_an_upgrade_is_read_as_well() -> None:
    records: list[dict[str, Any]] = [
        {"t": "open", "r": "req_1"},
        {"t": "open", "ids": ["req_2", "req_3"]},
    ]

    assert closings_owed(records) == [Closing(f"req_{number}", Act.RELEASE) for number in (1, 2, 3)]

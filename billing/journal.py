"""The journal: what this process owes the books, on disk before anybody is answered.

1. A process opens one file for its life and locks it (``flock``); the lock falls with the process.
2. ``open_calls`` before a batch of holds, ``checkpoint`` while a stream runs, ``close_call`` before
   the last frame leaves. Each is one ``write``, which survives ``kill -9``; ``sync`` brings them to
   the disk every 100 ms, off the loop, so that a power cut loses no more than that.
3. ``mark_done`` when the writer has committed. A segment is deleted when nothing opened in it is
   owed any more; past 32 MiB a new one is begun.
4. Whoever finds a file it can lock has found a dead process's: ``billing.adoption`` closes it.

A record is the CRC-32 of its JSON in eight hex digits, a blank, the JSON, a newline. A torn record
fails its CRC and is left out; the next one begins on a line of its own.
"""

import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from billing.holds import Act, Closing, Outcome, parse_closing
from kernel import failpoints
from kernel.encoding import dump_json
from kernel.log import logger

SEGMENT_BYTES = 32 * 2**20
SUFFIX = ".journal"
log = logger(__name__)


@dataclass(slots=True)
class _Segment:
    path: Path
    descriptor: int
    size: int = 0
    owed: set[str] = field(default_factory=set)


class Journal:
    """The journal of this process. Not for use from several threads, but for ``sync``."""

    def __init__(self, folder: Path, owner: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.owner = owner
        self._folder = folder
        self._serial = 0
        self._older: list[_Segment] = []
        self._where: dict[str, _Segment] = {}
        self._dirty = False
        self._is_torn = False
        self._ended: list[int] = []  # descriptors of what ended since the last sync
        self._has_new_file = False
        self._current = self._begin_segment()

    def open_calls(self, request_ids: Iterable[str]) -> bool:
        """Write that holds are about to be asked for; False where the disk refuses."""
        fresh = [request_id for request_id in request_ids if request_id not in self._where]
        if not fresh:
            return True
        self._current.owed.update(fresh)
        self._where.update(dict.fromkeys(fresh, self._current))
        is_written = self._append(b"open", dump_json({"ids": fresh}))
        if not is_written:
            self.mark_done(fresh)
        return is_written

    def checkpoint(self, closing: Closing) -> None:
        """Write what an open stream has come to, as the settlement it would be now."""
        self._append(b"progress", closing.text)

    def close_call(self, closing: Closing) -> None:
        """Write how a call ended. A full disk is logged only: the writer settles from memory."""
        self._append(b"final", closing.text)

    def mark_done(self, request_ids: Iterable[str]) -> None:
        """Forget what the books have; delete segments that are owed nothing."""
        done = [request_id for request_id in request_ids if request_id in self._where]
        for request_id in done:
            self._where.pop(request_id).owed.discard(request_id)
        if done:
            self._append(b"done", dump_json({"ids": done}))
        for segment in [old for old in self._older if not old.owed]:
            self._older.remove(segment)
            _delete(segment)

    def sync(self) -> None:
        """Bring what was written to the disk. Called from a thread."""
        if not self._dirty:
            return
        self._dirty = False
        try:
            if self._has_new_file:
                self._has_new_file = False
                _sync_folder(self._folder)
            while self._ended:
                descriptor = self._ended.pop()
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            os.fdatasync(self._current.descriptor)
        except OSError as error:
            log.error("journal_not_synced", error=str(error))

    def close(self) -> None:
        """Let go of the files; those that are owed something stay for the next process."""
        self.sync()
        for segment in [*self._older, self._current]:
            if segment.owed:
                os.close(segment.descriptor)
            else:
                _delete(segment)

    @property
    def owed(self) -> int:
        """How many calls are not in the books yet."""
        return len(self._where)

    def _append(self, kind: bytes, members: bytes) -> bool:
        """Write a record: a JSON object with its kind as the first of its members."""
        body = b'{"t":"%b",%b' % (kind, members[1:])
        line = b"%b%08x %b\n" % (b"\n" if self._is_torn else b"", zlib.crc32(body), body)
        try:
            failpoints.reach("journal_write")
            written = os.write(self._current.descriptor, line)
        except OSError as error:
            log.error("journal_not_written", error=str(error), record=kind.decode())
            return False
        self._dirty = True
        self._current.size += written
        self._is_torn = written != len(line)
        if self._is_torn:
            log.error("journal_not_written", error="short write", record=kind.decode())
            return False
        if self._current.size > SEGMENT_BYTES:
            self._rotate()
        return True

    def _rotate(self) -> None:
        try:
            fresh = self._begin_segment()
        except OSError as error:
            log.error("journal_not_rotated", error=str(error))
            return
        # another descriptor: the segment may be done with, and closed, before it is synced
        self._ended.append(os.dup(self._current.descriptor))
        self._older.append(self._current)
        self._current = fresh

    def _begin_segment(self) -> _Segment:
        path = self._folder / f"{self.owner}.{self._serial:06d}{SUFFIX}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._serial += 1
        self._has_new_file = True
        return _Segment(path, descriptor)


def _sync_folder(folder: Path) -> None:
    """Bring a new file's name to the disk: without it, what is in the file is lost with it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(segment: _Segment) -> None:
    segment.path.unlink(missing_ok=True)
    os.close(segment.descriptor)


def read_records(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield a journal's good records in order; a record whose CRC is wrong is left out."""
    for line in content.split(b"\n"):
        head, _, body = line.partition(b" ")
        if len(head) == 8 and head == b"%08x" % zlib.crc32(body):  # noqa: PLR2004 # hex digits
            yield orjson.loads(body)


def closings_owed(records: Iterable[dict[str, Any]]) -> list[Closing]:
    """Return what must be closed: the final, else the last checkpoint, else a release."""
    owed: dict[str, Closing] = {}
    for record in records:
        match record["t"]:
            case "open":
                # one at a time, in journals of processes before an upgrade
                for request_id in record.get("ids") or [record["r"]]:
                    owed.setdefault(request_id, Closing(request_id, Act.RELEASE))
            case "progress":
                running = parse_closing(record)
                owed[record["r"]] = replace(running, outcome=Outcome.INTERRUPTED)
            case "final":
                owed[record["r"]] = parse_closing(record)
            case "done":
                # one at a time, in journals of processes before an upgrade
                for request_id in record.get("ids") or [record["r"]]:
                    owed.pop(request_id, None)
    return list(owed.values())

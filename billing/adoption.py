"""Adoption: closing the calls of processes that died.

1. Look for journal segments that can be locked: their owner is gone.
2. Read all segments of that owner together, in order: a call may begin in one and end in another.
3. Close what is owed, through the same tick as the living, then delete the segments.

Two adopters are harmless: one gets the lock, and closing twice is closing once.
"""

import fcntl
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from billing.holds import Closing
from billing.journal import SUFFIX, closings_owed, read_records
from kernel import failpoints
from kernel.log import logger

CHUNK = 500
log = logger(__name__)


def adopt_orphans(folder: Path, apply: Callable[[Sequence[Closing]], object]) -> int:
    """Close every dead owner's calls and return how many there were.

    ``apply`` commits a chunk of closings or raises; then that owner's files stay for the next try,
    and the other owners' calls are closed all the same.
    """
    by_owner: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        by_owner[path.name.rsplit(".", 2)[0]].append(path)
    adopted = 0
    for paths in by_owner.values():
        try:
            adopted += _adopt(paths, apply)
        except Exception as error:  # noqa: BLE001 # whatever one left is no fault of the others
            log.error("journal_not_adopted", file=paths[0].name, error=type(error).__name__)
    return adopted


def _adopt(paths: Sequence[Path], apply: Callable[[Sequence[Closing]], object]) -> int:
    descriptors: list[int] = []
    try:
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                return 0
            descriptors.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
        # a segment may have been deleted between the listing and the lock: then nothing is owed
        content = b"".join(path.read_bytes() for path in paths if path.exists())
        closings = closings_owed(read_records(content))
        for start in range(0, len(closings), CHUNK):
            apply(closings[start : start + CHUNK])
            failpoints.reach("during_adoption")
        for path in paths:
            path.unlink(missing_ok=True)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    if closings:
        log.warning("journal_adopted", file=paths[0].name, calls=len(closings))
    return len(closings)

"""Long work in short transactions: chunk by chunk, by turns, until it is done or time is up."""

from collections.abc import Mapping
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from kernel import clock
from kernel.log import logger

log = logger(__name__)


def work_off(
    connection: Connection[TupleRow],
    statements: Mapping[str, tuple[LiteralString, Mapping[str, int]]],
    *,
    chunk: int,
    work_s: float,
) -> dict[str, int]:
    """Run each statement until it touches fewer rows than a chunk; return how many each touched.

    A statement takes its own values and ``%(chunk)s``. Each runs once at least; when ``work_s``
    seconds are over, what is left waits for the next run, and the log says so.
    """
    touched = dict.fromkeys(statements, 0)
    left = dict(statements)
    ends_at = clock.monotonic() + work_s
    while left:
        for name, (statement, values) in list(left.items()):
            rows = connection.execute(statement, {**values, "chunk": chunk}).rowcount
            touched[name] += rows
            if rows < chunk:
                del left[name]
        if left and clock.monotonic() >= ends_at:
            log.warning("work_left", kinds=sorted(left))
            break
    return touched

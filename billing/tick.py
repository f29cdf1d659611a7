"""One batch through the tick, and what its answer means: for the writer, adoption and tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from billing.holds import Act, Closing, Extension, HoldRequest, Refusal
from kernel.encoding import dump_json
from kernel.log import logger

STATEMENT: LiteralString = "select tick(%s::jsonb, %s::jsonb, %s::jsonb, %s)::text"
PREPARED: LiteralString = "select tick($1::jsonb, $2::jsonb, $3::jsonb, $4)::text"
QUARANTINE: LiteralString = (
    "insert into billing_quarantine (request_id, reason, record, recorded_at)"
    " values (%s, %s, %s::jsonb, now()) on conflict (request_id) do nothing"
)
HEARTBEAT: LiteralString = (
    "insert into billing_journalowner (owner, heartbeat) values (%s, now())"
    " on conflict (owner) do update set heartbeat = excluded.heartbeat"
)
# enough to find one slow record among 500; a server that is slow for all of them is left alone
MOST_TIMEOUTS = 12
PROGRAM_LIMIT = "54"
log = logger(__name__)


class Fault(Enum):
    """What an error says of a batch.

    LOST: the connection broke, or the server or we are in trouble; the outcome may be unknown.
    SLOW: rolled back, since it took too much time or memory; less of it may go through.
    REFUSED: rolled back, since there is a record in it that cannot be.
    """

    LOST = auto()
    SLOW = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class TickAnswer:
    """By request id: the state after closing, whether extended, None or why a hold was refused."""

    closed: dict[str, str]
    extended: dict[str, bool]
    held: dict[str, Refusal | None]


def arguments(
    closings: Sequence[Closing],
    extensions: Sequence[Extension],
    holds: Sequence[HoldRequest],
    owner: str,
) -> list[str]:
    """Return the statement's parameters."""
    return [text.decode() for text in encode(closings, extensions, holds, owner)]


def encode(
    closings: Sequence[Closing],
    extensions: Sequence[Extension],
    holds: Sequence[HoldRequest],
    owner: str,
) -> list[bytes]:
    """Return the statement's parameters in UTF-8."""
    return [
        b"[%b]" % b",".join([closing.text for closing in closings]),
        dump_json([extension.as_row() for extension in extensions]),
        dump_json([hold.as_row() for hold in holds]),
        owner.encode(),
    ]


def parse_answer(text: str | bytes) -> TickAnswer:
    answer: dict[str, list[list[Any]]] = orjson.loads(text)
    return TickAnswer(
        closed={row[0]: row[1] for row in answer["closed"]},
        extended={row[0]: row[1] for row in answer["extended"]},
        held={
            row[0]: None if row[1] is None else Refusal(row[1]["why"], row[1])
            for row in answer["held"]
        },
    )


def lost_settlements(
    closings: Sequence[Closing], closed: dict[str, str]
) -> list[tuple[Closing, str]]:
    """Return settlements that found no open hold and no earlier settlement, with the reason."""
    lost = []
    for closing in closings:
        state = closed.get(closing.request_id, "missing")
        if closing.act is Act.SETTLE and state not in {"settled", "already settled"}:
            lost.append((closing, f"no open hold to settle: {state}"))
    return lost


def fault_of(error: Exception, *, is_connected: bool) -> Fault:
    """Say what an error of the tick's statement means.

    A server that answers with an error, over a connection that lives on, has rolled back: the
    statement timeout is switched off before a statement commits.
    """
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.OutOfMemory):
        return Fault.SLOW if is_connected else Fault.LOST
    if isinstance(error, psycopg.OperationalError):
        is_limit = (error.sqlstate or "").startswith(PROGRAM_LIMIT)
        return Fault.REFUSED if is_limit else Fault.LOST
    is_ours = isinstance(error, psycopg.InterfaceError | OSError | MemoryError)
    return Fault.LOST if is_ours else Fault.REFUSED


def close_calls(connection: Connection[TupleRow], closings: Sequence[Closing], owner: str) -> int:
    """Close calls, in one transaction where nothing is wrong with them; return how many closed.

    What PostgreSQL refuses is found by halving and goes into quarantine, like what has no open
    hold; its neighbours are closed.

    Raises:
        psycopg.Error: when not everything could be closed or put into quarantine. Closing all of it
            again is safe.

    """
    parts, closed, timeouts = [closings], 0, 0
    owed: Exception | None = None
    while parts:
        part = parts.pop()
        try:
            closed += _close_together(connection, part, owner)
        except Exception as error:
            fault = fault_of(error, is_connected=not connection.closed)
            timeouts += fault is Fault.SLOW
            if fault is Fault.LOST or timeouts > MOST_TIMEOUTS:
                raise
            if len(part) > 1:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            elif fault is Fault.SLOW or not _quarantine(connection, part[0], str(error)):
                log.error("closing_owed", request=part[0].request_id, error=type(error).__name__)
                owed = error
    if owed is not None:
        raise owed
    return closed


def _close_together(
    connection: Connection[TupleRow], closings: Sequence[Closing], owner: str
) -> int:
    with connection.transaction():
        row = connection.execute(STATEMENT, arguments(closings, (), (), owner)).fetchone()
        assert row is not None
        answer = parse_answer(row[0])
        for closing, reason in lost_settlements(closings, answer.closed):
            log.error("settlement_quarantined", request=closing.request_id, reason=reason)
            connection.execute(QUARANTINE, quarantine_row(closing, reason))
    return sum(not state.startswith(("already", "missing")) for state in answer.closed.values())


def _quarantine(connection: Connection[TupleRow], closing: Closing, reason: str) -> bool:
    log.error("settlement_quarantined", request=closing.request_id, reason=reason[:200])
    try:
        connection.execute(QUARANTINE, quarantine_row(closing, reason))
    except psycopg.Error:
        return False
    return True


def quarantine_row(closing: Closing, reason: str) -> tuple[str, str, str]:
    return closing.request_id, reason[:400], closing.text.decode()

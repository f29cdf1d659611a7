"""One batch through the tick, and what its answer means: for the writer, adoption and tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import orjson
from psycopg import Connection
from psycopg.rows import TupleRow

from billing.holds import Act, Closing, Extension, HoldRequest, Refusal
from kernel.encoding import dump_json
from kernel.log import logger

STATEMENT: LiteralString = "select tick(%s::jsonb, %s::jsonb, %s::jsonb, %s)::text"
QUARANTINE: LiteralString = (
    "insert into billing_quarantine (request_id, reason, record, recorded_at)"
    " values (%s, %s, %s::jsonb, now()) on conflict (request_id) do nothing"
)
HEARTBEAT: LiteralString = (
    "insert into billing_journalowner (owner, heartbeat) values (%s, now())"
    " on conflict (owner) do update set heartbeat = excluded.heartbeat"
)
log = logger(__name__)


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
) -> tuple[str, str, str, str]:
    """Return the statement's parameters."""
    return (
        dump_json([closing.as_row() for closing in closings]).decode(),
        dump_json([extension.as_row() for extension in extensions]).decode(),
        dump_json([hold.as_row() for hold in holds]).decode(),
        owner,
    )


def parse_answer(text: str) -> TickAnswer:
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


def close_calls(connection: Connection[TupleRow], closings: Sequence[Closing], owner: str) -> int:
    """Close a chunk in one transaction, the lost into quarantine; return how many closed."""
    with connection.transaction():
        row = connection.execute(STATEMENT, arguments(closings, (), (), owner)).fetchone()
        assert row is not None
        answer = parse_answer(row[0])
        for closing, reason in lost_settlements(closings, answer.closed):
            log.error("settlement_quarantined", request=closing.request_id, reason=reason)
            connection.execute(QUARANTINE, quarantine_row(closing, reason))
    return sum(not state.startswith(("already", "missing")) for state in answer.closed.values())


def quarantine_row(closing: Closing, reason: str) -> tuple[str, str, str]:
    return closing.request_id, reason[:400], dump_json(closing.as_row()).decode()

"""The one door to the outbox for Python: an event of a listed kind, in the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

import orjson
from psycopg import Connection
from psycopg.rows import TupleRow

from billing.models import OutboxEvent
from billing.notices.kinds import KINDS

_WRITE: LiteralString = (
    "insert into billing_outboxevent (org_id, kind, payload, created_at)"
    " values (%s, %s, %s::jsonb, now())"
)


def write_event(
    kind: str,
    payload: Mapping[str, Any],
    *,
    org_id: int | None = None,
    dispatched_at: datetime | None = None,
) -> OutboxEvent:
    """Write an event through Django's connection; ``dispatched_at`` where it has its deliveries."""
    assert kind in KINDS, kind
    return OutboxEvent.objects.create(
        org_id=org_id, kind=kind, payload=dict(payload), dispatched_at=dispatched_at
    )


def write_event_through(
    connection: Connection[TupleRow],
    kind: str,
    payload: Mapping[str, Any],
    *,
    org_id: int | None = None,
) -> None:
    """Write an event through a connection of the caller's own."""
    assert kind in KINDS, kind
    connection.execute(_WRITE, (org_id, kind, orjson.dumps(payload).decode()))

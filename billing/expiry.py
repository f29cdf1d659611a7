"""Expiry: giving back holds past their time whose process is not heard of any more."""

from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from billing.holds import Act, Closing
from billing.tick import close_calls
from kernel.log import logger

CHUNK = 500
HEARTBEAT_STALE_S = 30
DUE: LiteralString = """
select h.request_id from billing_hold h left join billing_journalowner j on j.owner = h.owner
where h.state = 'held' and h.expires_at < now()
  and (j.heartbeat is null or j.heartbeat < now() - make_interval(secs => %s))
order by h.request_id limit %s
"""
log = logger(__name__)


def expire_holds(connection: Connection[TupleRow]) -> int:
    """Expire what is due and return how many; bounded to 20 chunks a run."""
    expired = 0
    for _ in range(20):
        rows = connection.execute(DUE, (HEARTBEAT_STALE_S, CHUNK)).fetchall()
        if not rows:
            break
        closings = [Closing(row[0], Act.EXPIRE) for row in rows]
        expired += close_calls(connection, closings, "expiry")
        log.warning("holds_expired", count=len(rows), first=rows[0][0])
    return expired

"""Expiry: giving back holds past their time that nobody will close.

Their process is not heard of any more, or their settlement is in quarantine: then nobody comes back
for them by himself, and a customer's money is not locked until a person decides.
"""

from collections.abc import Mapping
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from billing.chunks import work_off
from billing.holds import Act, Closing
from billing.tick import close_calls
from kernel.log import logger

CHUNK = 500
HEARTBEAT_STALE_S = 30
PURGE_S = 120
NO_VALUES: Mapping[str, int] = {}
DUE: LiteralString = """
select h.request_id from billing_hold h left join billing_journalowner j on j.owner = h.owner
where h.state = 'held' and h.expires_at < now()
  and (j.heartbeat is null or j.heartbeat < now() - make_interval(secs => %s)
    or exists (select 1 from billing_quarantine q
               where q.request_id = h.request_id and q.resolved_at is null))
order by h.request_id limit %s
"""
log = logger(__name__)


PURGE: LiteralString = """
with old as (
  delete from billing_idempotentanswer where (org_id, idem_key) in (
    select org_id, idem_key from billing_idempotentanswer
    where created_at < now() - interval '24 hours' order by created_at limit %(chunk)s
    for update skip locked)
  returning org_id, idem_key
), freed as (
  update billing_hold h set idem_key = null from old
  where h.org_id = old.org_id and h.idem_key = old.idem_key
)
select 1 from old
"""
# a settled call whose answer could not be kept
FREE: LiteralString = """
update billing_hold h set idem_key = null where h.request_id in (
  select k.request_id from billing_hold k
  where k.idem_key is not null and k.closed_at < now() - interval '24 hours'
    and not exists (select 1 from billing_idempotentanswer a
                    where a.org_id = k.org_id and a.idem_key = k.idem_key)
  order by k.closed_at limit %(chunk)s for update skip locked)
"""


def purge_answers(connection: Connection[TupleRow]) -> int:
    """Forget answers and free keys that are older than a day; return how many rows.

    Nobody waits for it: a hold frees an old key by itself (``free_expired_keys``).
    """
    statements = {"answers": (PURGE, NO_VALUES), "keys": (FREE, NO_VALUES)}
    return sum(work_off(connection, statements, chunk=CHUNK, work_s=PURGE_S).values())


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
        if len(rows) < CHUNK:
            break  # one that cannot be is in quarantine, and due again
    return expired

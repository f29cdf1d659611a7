"""Forgetting what nobody asks for any more; nothing that says what money did is ever deleted.

Kept for good: ledger, usage, settled holds, grants, invoices, top-ups, applied payments, the audit
trail, quarantine. Forgotten after ``EVENTS_KEPT_DAYS``: dispatched events with their deliveries and
attempts, holds that came to nothing, payments' events that belong to nobody. After
``RUNS_KEPT_DAYS``: runs of the proof and of the reconciliation. After a day: dead processes' names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from billing.chunks import work_off
from kernel.log import logger

CHUNK = 1_000
WORK_S = 120
OWNERS_KEPT_DAYS = 1
log = logger(__name__)

_EVENTS: LiteralString = """
with old as materialized (
  select e.id from billing_outboxevent e
  where e.dispatched_at is not null and e.created_at < now() - make_interval(days => %(days)s)
    and not exists (select 1 from billing_delivery d where d.event_id = e.id and d.state = 'due')
  order by e.id limit %(chunk)s
), attempts as (
  delete from billing_deliveryattempt a using billing_delivery d
  where d.id = a.delivery_id and d.event_id in (select id from old)
), deliveries as (
  delete from billing_delivery where event_id in (select id from old)
)
delete from billing_outboxevent where id in (select id from old)
"""
_HOLDS: LiteralString = """
delete from billing_hold where request_id in (
  select h.request_id from billing_hold h
  where h.state in ('released', 'expired') and h.closed_at < now() - make_interval(days => %(days)s)
    and not exists (select 1 from billing_quarantine q
                    where q.request_id = h.request_id and q.resolved_at is null)
  order by h.closed_at limit %(chunk)s)
"""
_PAYMENTS: LiteralString = """
delete from billing_paymentevent where event_id in (
  select event_id from billing_paymentevent where outcome = 'waiting' and top_up_id is null
    and received_at < now() - make_interval(days => %(days)s) limit %(chunk)s)
"""
_OWNERS: LiteralString = """
delete from billing_journalowner where owner in (
  select j.owner from billing_journalowner j
  where j.heartbeat < now() - make_interval(days => %(days)s)
    and not exists (select 1 from billing_hold h where h.state = 'held' and h.owner = j.owner)
  limit %(chunk)s)
"""
_PROOFS: LiteralString = """
delete from billing_proofrun where id in (
  select id from billing_proofrun where at < now() - make_interval(days => %(days)s)
  order by id limit %(chunk)s)
"""
_RECONCILIATIONS: LiteralString = """
delete from billing_reconciliationrun where id in (
  select id from billing_reconciliationrun where at < now() - make_interval(days => %(days)s)
  order by id limit %(chunk)s)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """How long, in whole days."""

    events_days: int
    runs_days: int


def forget(connection: Connection[TupleRow], kept: Kept) -> Mapping[str, int]:
    """Delete what is older than it is kept, in chunks of a transaction each; return how many rows.

    What two minutes are not enough for comes with the next run.
    """
    statements: dict[str, tuple[LiteralString, Mapping[str, int]]] = {
        name: (statement, {"days": days})
        for name, statement, days in (
            ("events", _EVENTS, kept.events_days),
            ("holds", _HOLDS, kept.events_days),
            ("payment_events", _PAYMENTS, kept.events_days),
            ("owners", _OWNERS, OWNERS_KEPT_DAYS),
            ("proofs", _PROOFS, kept.runs_days),
            ("reconciliations", _RECONCILIATIONS, kept.runs_days),
        )
    }
    forgotten = work_off(connection, statements, chunk=CHUNK, work_s=WORK_S)
    if any(forgotten.values()):
        log.info("old_rows_forgotten", **forgotten)
    return forgotten

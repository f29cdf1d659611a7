"""Celery's side of the money. Every task may run twice and may die half-way."""

from celery import shared_task
from django.conf import settings
from psycopg.errors import Diagnostic

from billing.adoption import adopt_orphans
from billing.database import connect_sync
from billing.expiry import expire_holds, purge_answers
from billing.grants import expire_grants
from billing.invoices import close_due_months
from billing.notices.telling import tell as tell_all_due
from billing.payments.auto import top_up_where_due
from billing.payments.top_ups import expire_checkouts
from billing.proof import prove as run_proof
from billing.reconciliation import reconcile as run_reconciliation
from billing.retention import Kept, forget
from billing.rollups import roll_up as add_to_rollups
from billing.tick import close_calls
from kernel.log import logger

log = logger(__name__)


@shared_task(name="billing.expire_holds")
def expire() -> int:
    with connect_sync(
        settings.DATABASE_URL, "tollgate-expiry", statement_timeout_ms=60_000
    ) as connection:
        return expire_holds(connection)


@shared_task(name="billing.purge_answers")
def purge() -> int:
    with connect_sync(
        settings.DATABASE_URL, "tollgate-upkeep", statement_timeout_ms=60_000
    ) as connection:
        return purge_answers(connection)


@shared_task(name="billing.forget")
def forget_old() -> int:
    """Delete what is older than it is kept; nothing that says what money did."""
    kept = Kept(settings.EVENTS_KEPT_DAYS, settings.RUNS_KEPT_DAYS)
    with connect_sync(
        settings.DATABASE_URL, "tollgate-upkeep", statement_timeout_ms=60_000
    ) as connection:
        return sum(forget(connection, kept).values())


@shared_task(name="billing.adopt_journals")
def adopt_journals() -> int:
    with connect_sync(
        settings.DATABASE_URL, "tollgate-adoption", statement_timeout_ms=60_000
    ) as connection:
        return adopt_orphans(
            settings.JOURNAL_DIR, lambda closings: close_calls(connection, closings, "adoption")
        )


@shared_task(name="billing.make_partitions")
def make_partitions() -> int:
    with connect_sync(
        settings.DATABASE_URL, "tollgate-upkeep", statement_timeout_ms=60_000
    ) as connection:
        connection.add_notice_handler(_alarm_of_partition)
        row = connection.execute("select make_usage_partitions(3)").fetchone()
        assert row is not None
        return int(row[0])


def _alarm_of_partition(warning: Diagnostic) -> None:
    log.error("partition_not_made", why=warning.message_primary)


@shared_task(name="billing.roll_up")
def roll_up() -> int:
    with connect_sync(
        settings.DATABASE_URL, "tollgate-roll-up", statement_timeout_ms=60_000
    ) as connection:
        return add_to_rollups(connection)


@shared_task(name="billing.expire_grants")
def end_grants() -> int:
    """Take back what is free of grants whose time is over."""
    return expire_grants()


@shared_task(name="billing.prove")
def prove() -> bool:
    """Prove the books and alarm on any difference; nothing is repaired here."""
    with connect_sync(
        settings.DATABASE_URL, "tollgate-proof", statement_timeout_ms=280_000
    ) as connection:
        proof = run_proof(connection, settings.JOURNAL_DIR)
    for finding in proof.findings:
        if finding.rows:
            log.error("proof_broken", equation=finding.number, rows=str(finding.rows[:3]))
    return proof.clean


@shared_task(name="billing.reconcile")
def reconcile() -> bool:
    """Recount what moved lately and alarm on any difference; nothing is repaired here."""
    with connect_sync(
        settings.DATABASE_URL, "tollgate-reconciliation", statement_timeout_ms=280_000
    ) as connection:
        run = run_reconciliation(connection, drift_percent=settings.DRIFT_ALARM_PERCENT)
    for finding in run.findings:
        if finding.rows:
            log.error(
                "reconciliation_differs",
                run=run.id,
                recount=finding.number,
                rows=str(finding.rows[:3]),
            )
    return run.clean


@shared_task(name="billing.close_due_months")
def close_due() -> int:
    """Draw and finalise what is due, each in a small transaction of its own; then prove all."""
    closed = close_due_months()
    if closed:
        prove()
    return closed


@shared_task(name="billing.tell")
def tell() -> int:
    """Dispatch events and make the deliveries that are due."""
    return tell_all_due()


@shared_task(name="billing.top_up")
def top_up() -> int:
    """Top up balances beneath their thresholds; close checkouts that nobody paid."""
    return top_up_where_due() + expire_checkouts()

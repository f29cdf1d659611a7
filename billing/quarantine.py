"""Quarantine: settlements that could not be applied, and their two ways out.

1. ``retry_settlement`` sends one through the tick again, after its cause has been mended.
2. ``dismiss_settlement`` writes it off as the platform's loss, with a reason, in the audit trail.

Nothing leaves by itself: while a row is open the proof is not clean.
"""

from django.db import transaction
from psycopg import Connection
from psycopg.rows import TupleRow

from accounts.audit import record_change
from billing.holds import parse_closing
from billing.models import Quarantine
from billing.tick import STATEMENT, arguments, parse_answer
from kernel import clock
from kernel.errors import BadRequestError, ConflictError, NotFoundError


def retry_settlement(
    connection: Connection[TupleRow], request_id: str, *, actor: str
) -> Quarantine:
    """Settle a quarantined call; it stays in quarantine when that fails again.

    Raises:
        NotFoundError: for a call that is not in quarantine; ConflictError: when it still has no
            open hold.

    """
    held = _open_row(request_id)
    closing = parse_closing(held.record)
    row = connection.execute(STATEMENT, arguments([closing], (), (), "quarantine")).fetchone()
    assert row is not None
    state = parse_answer(row[0]).closed.get(request_id, "missing")
    if state not in {"settled", "already settled"}:
        raise ConflictError(f"{request_id} cannot be settled: {state}. Dismiss it with a reason.")
    return _resolve(held, actor, "quarantine.retry", {"state": state})


def dismiss_settlement(request_id: str, *, reason: str, actor: str) -> Quarantine:
    """Write a quarantined settlement off.

    Raises:
        NotFoundError: for a call that is not in quarantine; BadRequestError: without a reason.

    """
    if not reason.strip():
        raise BadRequestError("Say why the settlement is dismissed.", param="reason")
    held = _open_row(request_id)
    written_off = {"reason": reason, "charge_nanos": str(held.record.get("charge"))}
    return _resolve(held, actor, "quarantine.dismiss", written_off)


def _open_row(request_id: str) -> Quarantine:
    row = Quarantine.objects.filter(request_id=request_id, resolved_at=None).first()
    if row is None:
        raise NotFoundError(f"{request_id} is not in quarantine.", code="not_found")
    return row


def _resolve(row: Quarantine, actor: str, action: str, after: dict[str, str]) -> Quarantine:
    with transaction.atomic():
        row.resolved_at = clock.now()
        row.save(update_fields=["resolved_at"])
        record_change(None, actor, action, row.request_id, after=after)
    return row

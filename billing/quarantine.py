"""Quarantine: settlements that could not be applied, and their two ways out.

1. ``retry_settlement`` sends one through the tick again, after its cause has been mended. Its hold
   stays open for that until its time is over (``expiry.py``), so that no money is locked for good.
2. ``dismiss_settlement`` gives the hold back and writes off what could have been charged: revenue
   against ``platform_loss``, of the platform's own, so that no customer's books know of it.

Nothing leaves by itself: while a row is open the proof is not clean.
"""

from typing import Any

from django.db import connection as django_connection
from django.db import transaction
from psycopg import Connection
from psycopg.rows import TupleRow

from accounts.audit import record_change
from billing.holds import Act, Closing, parse_closing
from billing.ledger import Posting, Transaction, post_transaction
from billing.models import Hold, Quarantine
from billing.tick import STATEMENT, arguments, parse_answer
from kernel import clock
from kernel.errors import BadRequestError, ConflictError, NotFoundError
from kernel.money import render_usd


def retry_settlement(
    connection: Connection[TupleRow], request_id: str, *, actor: str
) -> Quarantine:
    """Settle a quarantined call; it stays in quarantine when that fails again.

    Raises:
        NotFoundError: for a call that is not in quarantine; ConflictError: when it still has no
            open hold.

    """
    with transaction.atomic():
        kept = _open_row(request_id)
    closing = parse_closing(kept.record)
    row = connection.execute(STATEMENT, arguments([closing], (), (), "quarantine")).fetchone()
    assert row is not None
    state = parse_answer(row[0]).closed.get(request_id, "missing")
    if state not in {"settled", "already settled"}:
        raise ConflictError(f"{request_id} cannot be settled: {state}. Dismiss it with a reason.")
    return _resolve(kept, actor, "quarantine.retry", {"state": state})


def dismiss_settlement(request_id: str, *, reason: str, actor: str) -> Quarantine:
    """Give a quarantined call's hold back and write its charge off, in one transaction.

    Raises:
        NotFoundError: for a call that is not in quarantine; BadRequestError: without a reason;
            ConflictError: for one that is settled meanwhile.

    """
    if not reason.strip():
        raise BadRequestError("Say why the settlement is dismissed.", param="reason")
    with transaction.atomic():
        row = _open_row(request_id)
        row.written_off_nanos = _give_back(row)
        if row.written_off_nanos:
            _write_off(row, reason, actor)
        told = {"reason": reason, "charge_nanos": str(row.record.get("charge"))}
        told["written_off_usd"] = render_usd(row.written_off_nanos)
        return _resolve(row, actor, "quarantine.dismiss", told)


def _give_back(row: Quarantine) -> int:
    """Release the call's hold where it is open; return what could have been charged, in nanos."""
    release = Closing(row.request_id, Act.RELEASE)
    with django_connection.cursor() as cursor:
        cursor.execute(STATEMENT, arguments([release], (), (), "quarantine"))
        state = parse_answer(cursor.fetchone()[0]).closed[row.request_id]
    if state == "already settled":
        raise ConflictError(f"{row.request_id} is settled: retry it, and it leaves quarantine.")
    hold = Hold.objects.filter(request_id=row.request_id).first()
    charge: Any = row.record.get("charge")
    if hold is None or type(charge) is not int:
        return 0  # what was never held could not have been charged
    return max(0, min(charge, hold.amount_nanos))


def _write_off(row: Quarantine, reason: str, actor: str) -> None:
    nanos = row.written_off_nanos
    post_transaction(
        Transaction(
            None,
            "write_off",
            f"write_off:{row.request_id}",
            [Posting(None, "platform_loss", nanos), Posting(None, "usage_revenue", -nanos)],
            reason=reason[:400],
            actor=actor,
        )
    )


def _open_row(request_id: str) -> Quarantine:
    rows = Quarantine.objects.select_for_update().filter(request_id=request_id, resolved_at=None)
    row = rows.first()
    if row is None:
        raise NotFoundError(f"{request_id} is not in quarantine.", code="not_found")
    return row


def _resolve(row: Quarantine, actor: str, action: str, after: dict[str, str]) -> Quarantine:
    with transaction.atomic():
        row.resolved_at = clock.now()
        row.save(update_fields=["resolved_at", "written_off_nanos"])
        record_change(None, actor, action, row.request_id, after=after)
    return row

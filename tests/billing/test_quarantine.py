"""Quarantine keeps the proof unclean until somebody finds a way out."""

import pytest

from accounts.models import AuditEvent
from billing.database import connect_sync
from billing.expiry import expire_holds
from billing.holds import Act, Closing
from billing.models import (
    Hold,
    LedgerEntry,
    LedgerTransaction,
    OutboxEvent,
    Quarantine,
    UsageEvent,
)
from billing.pricing import Price
from billing.quarantine import dismiss_settlement, retry_settlement
from billing.reconciliation import reconcile
from billing.tick import HEARTBEAT, QUARANTINE, close_calls, quarantine_row
from kernel.errors import BadRequestError, ConflictError, NotFoundError
from tests.books import assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant


def quarantined(database: str) -> tuple[Tenant, str, Price]:
    """A settlement that came after its hold had expired."""
    acme = make_tenant()
    version, price = make_price()
    request = hold_request(acme, version, 9_000)
    run_tick(database, holds=[request])
    Hold.objects.update(state="expired")
    closing = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        assert close_calls(connection, [closing], "test") == 0
    return acme, request.request_id, price


def poisoned(database: str) -> tuple[Tenant, str, Price]:
    """A settlement of 3,000 that the database refused, while its hold of 9,000 is open."""
    acme = make_tenant()
    version, price = make_price()
    request = hold_request(acme, version, 9_000)
    run_tick(database, holds=[request])
    closing = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        connection.execute(QUARANTINE, quarantine_row(closing, "poisoned"))
    return acme, request.request_id, price


@pytest.mark.tampers
def test_a_quarantined_settlement_is_named_by_the_proof(database: str) -> None:
    quarantined(database)

    with pytest.raises(AssertionError, match="nothing is in quarantine"):
        assert_proven(database)


def test_a_settlement_is_applied_once_its_cause_is_mended(database: str) -> None:
    _, request_id, _ = quarantined(database)
    Hold.objects.update(state="held")

    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        row = retry_settlement(connection, request_id, actor="alice@example.com")

    assert row.resolved_at is not None
    assert UsageEvent.objects.get().amount_nanos == 3_000
    assert_proven(database)


@pytest.mark.tampers
def test_a_settlement_that_still_cannot_be_applied_stays(database: str) -> None:
    _, request_id, _ = quarantined(database)

    with (
        connect_sync(database, "test", statement_timeout_ms=5_000) as connection,
        pytest.raises(ConflictError, match="already expired"),
    ):
        retry_settlement(connection, request_id, actor="alice@example.com")

    assert Quarantine.objects.get().resolved_at is None


def test_a_dismissal_needs_a_reason_and_is_audited(database: str) -> None:
    acme, request_id, _ = poisoned(database)
    with pytest.raises(BadRequestError):
        dismiss_settlement(request_id, reason=" ", actor="alice@example.com")
    assert acme.account.held_nanos == 9_000
    assert LedgerTransaction.objects.filter(kind="write_off").count() == 0

    dismiss_settlement(request_id, reason="poisoned", actor="alice@example.com")

    event = AuditEvent.objects.latest("id")
    assert (event.action, event.target, event.after) == (
        "quarantine.dismiss",
        request_id,
        {"reason": "poisoned", "charge_nanos": "3000", "written_off_usd": "0.000003000"},
    )


def test_a_dismissal_gives_the_hold_back_and_writes_off_what_could_have_been_charged(
    database: str,
) -> None:
    acme, request_id, _ = poisoned(database)

    dismiss_settlement(request_id, reason="poisoned", actor="alice@example.com")

    assert Hold.objects.get().state == "released"
    assert (acme.account.held_nanos, acme.account.deferred_nanos) == (0, 100 * 10**9)
    entries = LedgerEntry.objects.filter(txn__kind="write_off").order_by("seq")
    assert [(entry.account.code, entry.amount_nanos) for entry in entries] == [
        ("platform_loss", 3_000),
        ("usage_revenue", -3_000),
    ]
    assert_proven(database)


def test_what_expired_meanwhile_is_written_off_and_what_was_never_held_is_not(
    database: str,
) -> None:
    _, expired, price = poisoned(database)
    stray = settlement("req_stray", price, input_tokens=1, output_tokens=1)
    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        close_calls(connection, [Closing(expired, Act.EXPIRE)], "test")
        close_calls(connection, [stray], "test")

    rows = [
        dismiss_settlement(request_id, reason="lost", actor="alice@example.com")
        for request_id in (expired, "req_stray")
    ]

    assert [row.written_off_nanos for row in rows] == [3_000, 0]
    assert_proven(database)


def test_what_is_settled_meanwhile_is_not_written_off(database: str) -> None:
    _, request_id, price = poisoned(database)
    closing = settlement(request_id, price, input_tokens=1, output_tokens=1)
    run_tick(database, closings=[closing])

    with pytest.raises(ConflictError, match="is settled"):
        dismiss_settlement(request_id, reason="lost", actor="alice@example.com")

    assert LedgerTransaction.objects.filter(kind="write_off").count() == 0
    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        retry_settlement(connection, request_id, actor="alice@example.com")
    assert_proven(database)


@pytest.mark.tampers
def test_a_hold_in_quarantine_ends_at_its_time_though_its_process_lives(database: str) -> None:
    acme, request_id, _ = poisoned(database)
    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        connection.execute(HEARTBEAT, ("test",))
        assert expire_holds(connection) == 0
        connection.execute("update billing_hold set expires_at = now() - interval '1 second'")
        assert expire_holds(connection) == 1

    assert Hold.objects.get(request_id=request_id).state == "expired"
    assert acme.account.held_nanos == 0


@pytest.mark.tampers
def test_quarantine_is_told_and_is_in_the_reconciliation(database: str) -> None:
    acme, request_id, _ = poisoned(database)

    event = OutboxEvent.objects.get(kind="settlement.quarantined")
    assert (event.org_id, event.payload) == (
        acme.org.pk,
        {"request": request_id, "reason": "poisoned", "held_nanos": "9000"},
    )
    with connect_sync(database, "test", statement_timeout_ms=60_000) as connection:
        run = reconcile(connection, drift_percent=25)
    assert run.differences == [f"Q {request_id}: poisoned: 1 ≠ 0"]


@pytest.mark.tampers
def test_a_write_off_nobody_dismissed_is_named(database: str) -> None:
    _, request_id, _ = poisoned(database)
    dismiss_settlement(request_id, reason="poisoned", actor="alice@example.com")
    Quarantine.objects.update(written_off_nanos=1)

    with pytest.raises(AssertionError, match="I28"):
        assert_proven(database)


def test_what_is_not_in_quarantine_is_not_found(database: str) -> None:
    with pytest.raises(NotFoundError):
        dismiss_settlement("req_unknown", reason="x", actor="alice@example.com")

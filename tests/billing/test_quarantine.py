"""Quarantine keeps the proof unclean until somebody finds a way out."""

import pytest

from accounts.models import AuditEvent
from billing.database import connect_sync
from billing.models import Hold, Quarantine, UsageEvent
from billing.pricing import Price
from billing.quarantine import dismiss_settlement, retry_settlement
from billing.tick import close_calls
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


def test_a_settlement_that_still_cannot_be_applied_stays(database: str) -> None:
    _, request_id, _ = quarantined(database)

    with (
        connect_sync(database, "test", statement_timeout_ms=5_000) as connection,
        pytest.raises(ConflictError, match="already expired"),
    ):
        retry_settlement(connection, request_id, actor="alice@example.com")

    assert Quarantine.objects.get().resolved_at is None


def test_a_dismissal_needs_a_reason_and_is_audited(database: str) -> None:
    acme, request_id, _ = quarantined(database)
    Hold.objects.update(state="expired")
    with pytest.raises(BadRequestError):
        dismiss_settlement(request_id, reason=" ", actor="alice@example.com")

    dismiss_settlement(request_id, reason="expired by hand", actor="alice@example.com")

    event = AuditEvent.objects.latest("id")
    assert (event.action, event.target, event.after) == (
        "quarantine.dismiss",
        request_id,
        {"reason": "expired by hand", "charge_nanos": "3000"},
    )
    assert acme.account.deferred_nanos == 100 * 10**9


def test_what_is_not_in_quarantine_is_not_found(database: str) -> None:
    with pytest.raises(NotFoundError):
        dismiss_settlement("req_unknown", reason="x", actor="alice@example.com")

"""What is old and says nothing about money is forgotten; what does is kept for good."""

from datetime import timedelta

import pytest
from django.conf import LazySettings

from billing import tasks
from billing.holds import Act, Closing
from billing.models import (
    Delivery,
    DeliveryAttempt,
    Hold,
    JournalOwner,
    LedgerTransaction,
    OutboxEvent,
    PaymentEvent,
    ProofRun,
    ReconciliationRun,
    UsageEvent,
)
from billing.notices.outbox import write_event
from kernel import clock
from tests.books import assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant


@pytest.fixture(autouse=True)
def books(database: str, settings: LazySettings) -> None:
    """The task's own connection leads to this test's database."""
    settings.DATABASE_URL = database


def use(database: str, acme: Tenant) -> list[str]:
    """A call that is settled, one that is released, and one that runs."""
    version, price = make_price()
    requests = [hold_request(acme, version, 9_000) for _ in range(3)]
    run_tick(database, holds=requests)
    settled, released, _ = requests
    closing = settlement(settled.request_id, price, input_tokens=1, output_tokens=1)
    run_tick(database, closings=[closing, Closing(released.request_id, Act.RELEASE)])
    return [request.request_id for request in requests]


def event(acme: Tenant, *, state: str) -> OutboxEvent:
    told = write_event("topup.paid", {}, org_id=acme.org.pk, dispatched_at=clock.now())
    delivery = Delivery.objects.create(event=told, email="alice@example.com", state=state)
    DeliveryAttempt.objects.create(delivery=delivery, number=1)
    return told


def test_holds_that_came_to_nothing_go_and_what_was_charged_stays(database: str) -> None:
    settled, released, running = use(database, make_tenant())
    Hold.objects.filter(closed_at__isnull=False).update(closed_at=clock.now() - timedelta(days=91))

    assert tasks.forget_old() == 1

    assert {hold.request_id for hold in Hold.objects.all()} == {settled, running}
    assert released not in {settled, running}
    assert (UsageEvent.objects.count(), LedgerTransaction.objects.count()) == (1, 2)
    assert_proven(database)


def test_events_go_with_their_deliveries_unless_one_is_due_or_waits(database: str) -> None:
    acme = make_tenant()
    gone, due = event(acme, state="delivered"), event(acme, state="due")
    waiting = write_event("topup.paid", {}, org_id=acme.org.pk)
    OutboxEvent.objects.update(created_at=clock.now() - timedelta(days=91))
    fresh = event(acme, state="given_up")

    assert tasks.forget_old() == 1

    kept = {each.pk for each in OutboxEvent.objects.all()}
    assert kept == {due.pk, waiting.pk, fresh.pk}
    assert gone.pk not in kept
    assert (Delivery.objects.count(), DeliveryAttempt.objects.count()) == (2, 2)


def test_runs_owners_and_payments_of_nobody_go_at_their_time(database: str) -> None:
    now = clock.now()
    for days in (399, 401):
        at = now - timedelta(days=days)
        ProofRun.objects.create(at=at, is_clean=True, duration_ms=1, report={"equations": []})
        ReconciliationRun.objects.create(at=at, hours=3, is_clean=True, duration_ms=1, report=[])
    for hours in (23, 25):
        JournalOwner.objects.create(owner=f"{hours}", heartbeat=now - timedelta(hours=hours))
    for outcome in ("waiting", "applied"):
        PaymentEvent.objects.create(
            event_id=outcome, kind="refunded", outcome=outcome, received_at=now - timedelta(days=91)
        )

    assert tasks.forget_old() == 4

    assert (ProofRun.objects.count(), ReconciliationRun.objects.count()) == (1, 1)
    assert JournalOwner.objects.get().owner == "23"
    assert PaymentEvent.objects.get().outcome == "applied"
    assert tasks.forget_old() == 0
    assert database


def test_the_owner_of_an_open_hold_is_kept(database: str) -> None:
    use(database, make_tenant())
    JournalOwner.objects.create(owner="test", heartbeat=clock.now() - timedelta(days=2))

    assert tasks.forget_old() == 0

    assert JournalOwner.objects.count() == 1


def test_a_month_of_rows_goes_chunk_by_chunk_as_long_as_there_is_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.retention.CHUNK", 2)
    for number in range(99):
        JournalOwner.objects.create(owner=f"{number}", heartbeat=clock.now() - timedelta(days=2))

    monkeypatch.setattr("billing.retention.WORK_S", 0)
    assert tasks.forget_old() == 2
    monkeypatch.setattr("billing.retention.WORK_S", 60)
    assert tasks.forget_old() == 97
    assert database

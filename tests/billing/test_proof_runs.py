"""What a run of the proof leaves behind: a row to read, an event, and one after every close."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client

from accounts.models import Organization, User
from billing import tasks
from billing.database import connect_sync
from billing.models import BillingAccount, Invoice, OutboxEvent, ProofRun, ReconciliationRun
from billing.reconciliation import reconcile
from kernel import clock
from tests.factories import make_tenant


@pytest.fixture(autouse=True)
def books(database: str, settings: LazySettings) -> None:
    """The tasks' own connections lead to this test's database."""
    settings.DATABASE_URL = database


@pytest.fixture
def operator(database: str) -> Client:
    assert database
    client = Client()
    client.force_login(User.objects.create_superuser("operator@example.com"))
    return client


def test_a_broken_proof_is_an_event_with_the_rows_and_a_clean_one_is_none(database: str) -> None:
    acme = make_tenant()
    assert tasks.prove() is True
    assert OutboxEvent.objects.count() == 0
    BillingAccount.objects.update(held_nanos=1)

    assert tasks.prove() is False

    event = OutboxEvent.objects.get()
    run = ProofRun.objects.latest("id")
    assert (event.kind, event.payload) == (
        "proof.broken",
        {"run": run.pk, "differences": 1, "first": [f"I6a {acme.org.public_id}: 1 ≠ 0"]},
    )
    BillingAccount.objects.update(held_nanos=0)


def test_the_worker_proves_the_books_after_it_has_closed_a_month(database: str) -> None:
    make_tenant()
    assert tasks.close_due() == 0
    assert ProofRun.objects.count() == 0
    Organization.objects.update(created_at=clock.now() - timedelta(days=62))

    assert tasks.close_due() == 1

    assert Invoice.objects.get().state == "final"
    assert ProofRun.objects.get().is_clean


def test_an_operator_reads_what_was_broken_and_which_rows(database: str, operator: Client) -> None:
    acme = make_tenant()
    BillingAccount.objects.update(held_nanos=1)
    tasks.prove()
    with connect_sync(database, "test", statement_timeout_ms=60_000) as connection:
        reconcile(connection, drift_percent=25)
    BillingAccount.objects.update(held_nanos=0)

    for model, row in (
        ("proofrun", ProofRun.objects.get()),
        ("reconciliationrun", ReconciliationRun.objects.get()),
    ):
        listed = operator.get(f"/admin/billing/{model}/").content.decode()
        shown = operator.get(f"/admin/billing/{model}/{row.pk}/change/").content.decode()
        assert "I6a" in listed
        cells = f"<td>what an account holds equals its open holds</td><td>{acme.org.public_id}</td>"
        assert cells + "<td>1 ≠ 0</td>" in shown

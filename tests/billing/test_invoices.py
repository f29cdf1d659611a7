"""Invoices: exactly one for every organization and month, gap-free, frozen, and to the nano."""

import hashlib
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from django.db import IntegrityError, connection

from accounts.models import Organization, Project
from billing.invoice_document import render_invoice
from billing.invoices import Month, close_due_months, parse_month, previous_month, run_month
from billing.models import Invoice, InvoiceLine, InvoiceSeries, LedgerEntry, PriceVersion
from billing.pricing import Price
from kernel import clock
from kernel.errors import BadRequestError
from tests.billing.past import use_at
from tests.books import assert_proven
from tests.factories import Tenant, make_price, make_tenant


def last_month() -> tuple[Month, datetime]:
    """The last month that is over, and a moment within it."""
    month = previous_month(clock.now(), "UTC")
    return month, month.start("UTC") + timedelta(days=9, hours=3)


def old_price(month: Month, **usd: str) -> tuple[PriceVersion, Price]:
    """A price that was in force then, and organizations that existed."""
    version, price = make_price(**usd)
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_priceversion disable trigger append_only")
        cursor.execute("update billing_priceversion set effective_from = %s", [month.start("UTC")])
        cursor.execute("alter table billing_priceversion enable trigger append_only")
    return version, price


def age(tenant: Tenant, month: Month) -> Tenant:
    Organization.objects.filter(pk=tenant.org.pk).update(created_at=month.start("UTC"))
    return tenant


def test_a_month_becomes_one_final_invoice_whose_lines_sum_to_the_ledger(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(mode="postpaid", credit_usd="0", credit_limit_usd="100"), month)
    priced = old_price(month, input_usd="1.50", output_usd="2.50")
    other = Project.objects.create(org=acme.org, name="Other")
    use_at(database, acme, at, priced, input_tokens=1_000_003, output_tokens=1_001)
    use_at(database, acme, at, priced, input_tokens=3, output_tokens=1)

    (invoice,) = run_month(month)

    assert (invoice.state, invoice.document_number) == ("final", f"INV-{clock.now():%Y}-000001")
    lines = InvoiceLine.objects.filter(invoice=invoice).order_by("seq")
    assert [(line.bucket, int(line.quantity), line.amount_nanos) for line in lines] == [
        ("input", 1_000_006, 1_500_009_000),
        ("output", 1_002, 2_505_000),
    ]
    revenue = LedgerEntry.objects.filter(account__code="usage_revenue")
    assert sum(-entry.amount_nanos for entry in revenue) == invoice.usage_nanos == 1_502_514_000
    assert (invoice.total_cents, invoice.due_cents) == (150, 150)
    assert invoice.rounding_nanos == 1_500_000_000 - 1_502_514_000
    assert acme.account.receivable_nanos == 1_500_000_000
    assert acme.account.unbilled_nanos == 0
    assert other.pk is not None
    assert_proven(database)


def test_prepaid_usage_is_invoiced_as_paid_from_credit(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(credit_usd="5"), month)
    use_at(database, acme, at, old_price(month), input_tokens=2_000_000, output_tokens=0)

    (invoice,) = run_month(month)

    assert (invoice.total_cents, invoice.prepaid_nanos, invoice.due_cents) == (200, 2 * 10**9, 0)
    assert invoice.ledger_txn is None
    assert_proven(database)


def test_running_a_month_again_changes_nothing(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(mode="postpaid", credit_usd="0", credit_limit_usd="9"), month)
    use_at(database, acme, at, old_price(month), input_tokens=1_000, output_tokens=10)

    first = [(i.pk, i.number, i.pdf_sha256) for i in run_month(month)]
    again = [(i.pk, i.number, i.pdf_sha256) for i in run_month(month)]

    assert first == again
    assert close_due_months() == 0
    assert_proven(database)


def test_two_schedulers_at_once_make_one_invoice_each_without_a_gap(database: str) -> None:
    month, at = last_month()
    priced = old_price(month)
    for number in range(6):
        tenant = age(make_tenant(f"Org {number}"), month)
        use_at(database, tenant, at, priced, input_tokens=10, output_tokens=10)
    barrier = Barrier(3)

    def close() -> None:
        barrier.wait()
        run_month(month)
        connection.close()

    threads = [Thread(target=close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    numbers = list(Invoice.objects.order_by("number").values_list("number", flat=True))
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert InvoiceSeries.objects.get().next_number == 7
    assert_proven(database)


def test_a_rolled_back_close_gives_its_number_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    month, at = last_month()
    acme = age(make_tenant(), month)
    use_at(database, acme, at, old_price(month), input_tokens=10, output_tokens=10)

    def fail(*_: object) -> bytes:
        raise RuntimeError("the typesetter died")

    with monkeypatch.context() as patch:
        patch.setattr("billing.invoices.render_invoice", fail)
        with pytest.raises(RuntimeError):
            run_month(month)
    (invoice,) = run_month(month)

    assert invoice.number == 1
    assert_proven(database)


def test_a_running_month_stays_a_draft_without_a_number(database: str) -> None:
    make_tenant()

    (invoice,) = run_month(parse_month(f"{clock.now():%Y-%m}"))

    assert (invoice.state, invoice.number) == ("draft", None)
    assert_proven(database)


@pytest.mark.tampers
def test_a_month_with_an_open_hold_waits_for_it(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(), month)
    priced = old_price(month)
    use_at(database, acme, at, priced, input_tokens=10, output_tokens=10, settle=False)

    (invoice,) = run_month(month)

    assert invoice.state == "draft"


def test_a_month_is_the_organizations_own(database: str) -> None:
    month = Month(2026, 10)
    acme = make_tenant(timezone="Asia/Tokyo")
    Organization.objects.update(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    priced = old_price(Month(2026, 9))
    inside = datetime(2026, 9, 30, 15, 0, tzinfo=UTC)
    outside = datetime(2026, 9, 30, 14, 59, tzinfo=UTC)
    use_at(database, acme, inside, priced, input_tokens=1_000, output_tokens=0)
    use_at(database, acme, outside, priced, input_tokens=7_000, output_tokens=0)

    (invoice,) = run_month(month)

    assert invoice.usage_nanos == 1_000_000
    assert invoice.period_start == datetime(2026, 9, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "statement",
    [
        "update billing_invoice set total_cents = 1",
        "delete from billing_invoice",
        "update billing_invoiceline set amount_cents = 1",
        "delete from billing_invoiceline",
        "insert into billing_invoiceline select * from billing_invoiceline",
    ],
)
def test_the_database_refuses_to_edit_a_final_invoice(database: str, statement: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(), month)
    use_at(database, acme, at, old_price(month), input_tokens=10, output_tokens=10)
    run_month(month)

    with pytest.raises(IntegrityError, match="is final"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_pdf_is_the_same_bytes_when_made_again(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant('Acme <&> #set "x" *bold*'), month)
    use_at(database, acme, at, old_price(month), input_tokens=10, output_tokens=10)
    run_month(month)

    invoice = Invoice.objects.get()
    again = render_invoice(invoice)

    assert again == bytes(invoice.pdf or b"")
    assert again.startswith(b"%PDF-")
    assert hashlib.sha256(again).hexdigest() == invoice.pdf_sha256


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "26-01", "2026-01-01", "", "２０２６-01"])
def test_a_month_is_written_as_year_and_month(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_month(text)

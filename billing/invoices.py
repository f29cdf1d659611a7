"""Invoices: one for every organization and month, numbered without a gap, frozen when final.

1. A draft is drawn from the usage of the organization's own month; drawing it again replaces its
   lines.
2. It becomes final when the month is over there and no hold of that month is open any more.
3. The number is taken from the locked series row inside the finalising transaction, together with
   the posting, the document's bytes and their hash; a rollback gives the number back.

A task killed between any two statements, or run twice, leaves exactly one invoice per organization
and month: the draft's row is unique, and finalising locks it.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from accounts.models import Organization
from billing.invoice_document import render_invoice
from billing.invoice_lines import draw_lines
from billing.ledger import Posting, Transaction, post_transaction
from billing.locks import lock_accounts
from billing.models import Hold, Invoice, InvoiceSeries
from kernel import clock
from kernel.errors import BadRequestError
from kernel.money import NANOS_PER_CENT, round_half_up

_PERIOD = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month; where it begins and ends depends on the organization's time zone."""

    year: int
    month: int

    @property
    def name(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def following(self) -> "Month":
        over, index = divmod(self.month, 12)
        return Month(self.year + over, index + 1)

    def start(self, zone: str) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=ZoneInfo(zone))

    def end(self, zone: str) -> datetime:
        return self.following.start(zone)


def parse_month(text: str) -> Month:
    """Read ``YYYY-MM``.

    Raises:
        BadRequestError: for anything else.

    """
    match = _PERIOD.fullmatch(text)
    if match is None or not 2000 <= int(match[1]) <= 2999:  # noqa: PLR2004 # years of any usage
        raise BadRequestError(f"{text!r} is not a month: write YYYY-MM.", param="period")
    return Month(int(match[1]), int(match[2]))


def previous_month(at: datetime, zone: str) -> Month:
    """Return the last month that is over in ``zone``."""
    local = at.astimezone(ZoneInfo(zone))
    back, index = divmod(local.month - 2, 12)
    return Month(local.year + back, index + 1)


def run_month(month: Month) -> list[Invoice]:
    """Draw every organization's invoice of a month, and make it final where the month is over."""
    orgs = Organization.objects.filter(billing_account__isnull=False).order_by("id")
    return [
        close_month(org, month)
        for org in orgs.iterator()
        if org.created_at < month.end(org.timezone)
    ]


def close_month(org: Organization, month: Month) -> Invoice:
    """Return an organization's invoice of a month, final if it can be. Safe to run again."""
    start, end = month.start(org.timezone), month.end(org.timezone)
    with transaction.atomic():
        lock_accounts([org.pk])
        invoice, _ = Invoice.objects.select_for_update().get_or_create(
            org=org, period_start=start, defaults={"period_end": end}
        )
        if invoice.state == Invoice.State.FINAL:
            return invoice
        invoice.customer_name = org.name
        draw_lines(invoice)
        if end <= _database_time() and not _has_open_holds(org, end):
            _finalise(invoice, month)
        invoice.save()
    return invoice


def close_due_months() -> int:
    """Close the last month that is over for every organization; return how many became final."""
    closed = 0
    now = clock.now()
    for org in Organization.objects.filter(billing_account__isnull=False).order_by("id"):
        month = previous_month(now, org.timezone)
        start = month.start(org.timezone)
        if org.created_at >= month.end(org.timezone):
            continue
        if Invoice.objects.filter(org=org, period_start=start, state="final").exists():
            continue
        closed += close_month(org, month).state == Invoice.State.FINAL
    return closed


def _finalise(invoice: Invoice, month: Month) -> None:
    now = _database_time()
    series, _ = InvoiceSeries.objects.select_for_update().get_or_create(name=f"INV-{now.year}")
    invoice.series = series
    invoice.number = series.next_number
    series.next_number += 1
    series.save()
    invoice.issued_at = now
    _post(invoice, month)
    invoice.state = Invoice.State.FINAL
    invoice.pdf = render_invoice(invoice, month.name)
    invoice.pdf_sha256 = hashlib.sha256(invoice.pdf).hexdigest()


def _post(invoice: Invoice, month: Month) -> None:
    """Move what is owed from unbilled to receivable; the cents' difference goes to rounding."""
    unbilled_nanos = invoice.usage_nanos - invoice.prepaid_nanos
    if unbilled_nanos == 0:
        invoice.due_cents = 0
        invoice.rounding_nanos = 0
        return
    credit_cents = round_half_up(invoice.prepaid_nanos, NANOS_PER_CENT)
    invoice.due_cents = max(0, invoice.total_cents - credit_cents)
    due_nanos = invoice.due_cents * NANOS_PER_CENT
    invoice.rounding_nanos = due_nanos - unbilled_nanos
    invoice.ledger_txn_id = post_transaction(
        Transaction(
            invoice.org_id,
            "invoice",
            f"invoice:{month.name}",
            [
                Posting(invoice.org_id, "receivable", due_nanos),
                Posting(invoice.org_id, "unbilled_receivable", -unbilled_nanos),
                Posting(None, "rounding", -invoice.rounding_nanos),
            ],
            reason=f"invoice {invoice.document_number}",
            actor="system",
        )
    )
    account = lock_accounts([invoice.org_id])[invoice.org_id]
    account.unbilled_nanos -= unbilled_nanos
    account.receivable_nanos += due_nanos
    account.save(update_fields=["unbilled_nanos", "receivable_nanos"])


def _has_open_holds(org: Organization, end: datetime) -> bool:
    return Hold.objects.filter(org_id=org.pk, state="held", created_at__lt=end).exists()


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now

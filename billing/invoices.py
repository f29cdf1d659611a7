"""Invoices: one for every organization and month, numbered without a gap, frozen when final.

1. A draft is drawn from the usage between the end of the invoice before it and the end of the month
   in the organization's zone; drawing it again replaces its lines. So a call is on one invoice
   whatever zone is chosen in between.
2. It becomes final when the month is over there, no hold of it is open any more, and the one before
   it is final.
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
from billing.models import Hold, Invoice, InvoiceSeries, UsageEvent
from kernel import clock
from kernel.errors import BadRequestError
from kernel.money import NANOS_PER_CENT, round_half_up

_PERIOD = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
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
    month = _month_around(at, zone)
    back, index = divmod(month.month - 2, 12)
    return Month(month.year + back, index + 1)


def _month_around(at: datetime, zone: str) -> Month:
    local = at.astimezone(ZoneInfo(zone))
    return Month(local.year, local.month)


def run_month(month: Month) -> list[Invoice]:
    """Draw every organization's invoice of a month, and make it final where the month is over."""
    orgs = Organization.objects.filter(billing_account__isnull=False).order_by("id")
    drawn = (
        close_month(org, month)
        for org in orgs.iterator()
        if org.created_at < month.end(org.timezone)
    )
    return [invoice for invoice in drawn if invoice is not None]


def close_month(org: Organization, month: Month) -> Invoice | None:
    """Return an organization's invoice of a month, final if it can be. Safe to run again.

    Months before it that were never closed come first, in order. None for a month before the first
    that was invoiced.
    """
    final = Invoice.objects.filter(org=org, month=month.name, state=Invoice.State.FINAL).first()
    drawn = [] if final is not None else _close_months(org, month)
    return drawn[-1] if drawn else final


def close_due_months() -> int:
    """Close what is over and open for every organization; return how many became final."""
    closed = 0
    now = clock.now()
    for org in Organization.objects.filter(billing_account__isnull=False).order_by("id"):
        month = previous_month(now, org.timezone)
        if org.created_at < month.end(org.timezone):
            drawn = _close_months(org, month)
            closed += sum(invoice.state == Invoice.State.FINAL for invoice in drawn)
    return closed


def _close_months(org: Organization, until: Month) -> list[Invoice]:
    """Draw what is not final yet, from the last final invoice or the first usage on."""
    last = Invoice.objects.filter(org=org, state=Invoice.State.FINAL).order_by("-month").first()
    if last is not None:
        month = parse_month(last.month).following
    else:
        used = UsageEvent.objects.filter(org_id=org.pk).order_by("occurred_at").first()
        month = until if used is None else min(until, _month_around(used.occurred_at, org.timezone))
    drawn = []
    while month <= until:
        drawn.append(_draw_month(org, month))
        month = month.following
    return drawn


def _draw_month(org: Organization, month: Month) -> Invoice:
    """Draw one month from where the one before it ends; both being over, it becomes final."""
    with transaction.atomic():
        lock_accounts([org.pk])
        before = Invoice.objects.filter(org=org, month__lt=month.name).order_by("-month").first()
        start = month.start(org.timezone) if before is None else before.period_end
        invoice = Invoice.objects.select_for_update().filter(org=org, month=month.name).first()
        if invoice is None:
            invoice = Invoice(org=org, month=month.name)
        elif invoice.state == Invoice.State.FINAL:
            return invoice
        invoice.timezone, invoice.customer_name = org.timezone, org.name
        invoice.period_start, invoice.period_end = start, month.end(org.timezone)
        invoice.save()
        draw_lines(invoice)
        is_next = before is None or before.state == Invoice.State.FINAL
        is_over = invoice.period_end <= _database_time()
        if is_next and is_over and not _has_open_holds(org, invoice.period_end):
            _finalise(invoice)
        invoice.save()
    return invoice


def _finalise(invoice: Invoice) -> None:
    now = _database_time()
    series, _ = InvoiceSeries.objects.select_for_update().get_or_create(name=f"INV-{now.year}")
    invoice.series = series
    invoice.number = series.next_number
    series.next_number += 1
    series.save()
    invoice.issued_at = now
    _post(invoice)
    invoice.state = Invoice.State.FINAL
    invoice.pdf = render_invoice(invoice)
    invoice.pdf_sha256 = hashlib.sha256(invoice.pdf).hexdigest()


def _post(invoice: Invoice) -> None:
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
            f"invoice:{invoice.month}",
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

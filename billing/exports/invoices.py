"""Invoices, one row a line; drafts are marked and not in the control total."""

from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from billing.exports.writing import ExportResult, file_hash, stream_rows, write_csv
from billing.invoices import Month
from kernel.money import render_cents, render_usd

COLUMNS = (
    "invoice",
    "state",
    "organization",
    "customer",
    "period_start",
    "period_end",
    "line",
    "project",
    "model",
    "bucket",
    "quantity",
    "usd_per_1m",
    "requests",
    "amount_usd_exact",
    "amount_usd",
    "invoice_total_usd",
    "invoice_due_usd",
    "cache_percent",
)
# A month is the organization's own: the label decides, not the UTC instant.
QUERY: LiteralString = """
select coalesce(i.series_id || '-' || lpad(i.number::text, 6, '0'), ''), i.state, o.public_id,
  i.customer_name, to_char(i.period_start at time zone i.timezone, 'YYYY-MM-DD'),
  to_char(i.period_end at time zone i.timezone, 'YYYY-MM-DD'), l.seq, l.project_name, l.model,
  l.bucket, l.quantity, l.price_nanos, l.requests, coalesce(l.amount_nanos, 0),
  coalesce(l.amount_cents, 0), i.total_cents, i.due_cents,
  l.cache_percent
from billing_invoice i join accounts_organization o on o.id = i.org_id
left join billing_invoiceline l on l.invoice_id = i.id
where i.month = %s
order by i.series_id, i.number, i.id, l.seq
"""
LEDGER: LiteralString = """
select coalesce(-sum(e.amount_nanos), 0)::bigint from billing_invoice i
join billing_ledgertransaction t on t.org_id = i.org_id
  and t.effective_at >= i.period_start and t.effective_at < i.period_end
join billing_ledgerentry e on e.txn_id = t.id
join billing_ledgeraccount a on a.id = e.account_id and a.org_id is null and a.code =
'usage_revenue' where i.state = 'final' and i.month = %s
"""


def export_invoices(connection: Connection[TupleRow], month: Month, path: Path) -> ExportResult:
    """Write a month's invoice lines as CSV; finals sum to the ledger's revenue of their periods."""
    total = 0

    def rows() -> Iterator[list[object]]:
        nonlocal total
        for row in stream_rows(connection, QUERY, (month.name,)):
            *head, price, requests, nanos, cents, invoice_cents, due_cents, cache_percent = row
            total += nanos if row[1] == "final" else 0
            yield [
                *head,
                None if price is None else render_usd(price, places=2),
                requests,
                render_usd(nanos),
                render_cents(cents),
                render_cents(invoice_cents),
                render_cents(due_cents),
                cache_percent,
            ]

    with path.open("w", encoding="utf-8", newline="") as file:
        count = write_csv(file, COLUMNS, rows())
    ledger = connection.execute(LEDGER, (month.name,)).fetchone()
    assert ledger is not None
    return ExportResult(count, total, ledger[0], file_hash(path))

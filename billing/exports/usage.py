"""Usage, one row a request, in UTC."""

from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from billing.exports.writing import ExportResult, file_hash, stream_rows, write_csv
from billing.invoices import Month
from billing.usage import BUCKETS
from kernel.money import render_usd

COLUMNS = (
    "request_id",
    "occurred_at_utc",
    "organization",
    "project",
    "key",
    "model",
    "provider",
    "outcome",
    "evidence",
    *BUCKETS,
    "price_version",
    "amount_usd",
    "ledger_transaction",
    "cache_percent",
)
QUERY: LiteralString = f"""
select u.request_id, to_char(u.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  o.public_id, p.public_id, k.public_id, u.model, u.provider, u.outcome, u.evidence,
  {", ".join(f"u.{bucket}" for bucket in BUCKETS)}, u.price_version_id, u.amount_nanos,
  u.ledger_txn_id, u.cache_percent
from billing_usagenet u join accounts_organization o on o.id = u.org_id
join accounts_project p on p.id = u.project_id join accounts_apikey k on k.id = u.key_id
where u.occurred_at >= %s and u.occurred_at < %s order by u.occurred_at, u.request_id
"""  # noqa: S608 # column names of our own
LEDGER: LiteralString = """
select coalesce(-sum(e.amount_nanos), 0)::bigint from billing_ledgerentry e
join billing_ledgeraccount a on a.id = e.account_id and a.org_id is null and a.code =
'usage_revenue' join billing_ledgertransaction t on t.id = e.txn_id
where t.effective_at >= %s and t.effective_at < %s
"""
_AMOUNT = COLUMNS.index("amount_usd")


def export_usage(connection: Connection[TupleRow], month: Month, path: Path) -> ExportResult:
    """Write a UTC month's usage as CSV; its total equals the ledger's revenue of that month."""
    bounds = (month.start("UTC"), month.end("UTC"))
    total = 0

    def rows() -> Iterator[list[object]]:
        nonlocal total
        for row in stream_rows(connection, QUERY, bounds):
            total += row[_AMOUNT]
            yield [*row[:_AMOUNT], render_usd(row[_AMOUNT]), *row[_AMOUNT + 1 :]]

    with path.open("w", encoding="utf-8", newline="") as file:
        count = write_csv(file, COLUMNS, rows())
    ledger = connection.execute(LEDGER, bounds).fetchone()
    assert ledger is not None
    return ExportResult(count, total, ledger[0], file_hash(path))

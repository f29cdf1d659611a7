"""The general ledger's journal of a UTC month: CSV, or beancount that passes ``bean-check``.

Beancount's file opens with the balances brought forward and closes with a balance assertion of
every account, with no tolerance. The control total is the sum of debits, which must equal that of
credits.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import LiteralString, TextIO

from psycopg import Connection
from psycopg.rows import TupleRow

from billing.exports.writing import ExportResult, file_hash, stream_rows, write_csv
from billing.invoices import Month
from kernel.money import render_usd

COLUMNS = (
    "transaction",
    "effective_at_utc",
    "kind",
    "organization",
    "entry",
    "account_owner",
    "account",
    "amount_usd",
    "currency",
    "reason",
    "actor",
)
QUERY: LiteralString = """
select t.id, t.effective_at at time zone 'UTC', t.kind, coalesce(o.public_id, 'platform'), e.seq,
  coalesce(ao.public_id, 'platform'), a.code, e.amount_nanos, a.currency, t.reason, t.actor, a.kind
from billing_ledgertransaction t join billing_ledgerentry e on e.txn_id = t.id
join billing_ledgeraccount a on a.id = e.account_id
left join accounts_organization o on o.id = t.org_id
left join accounts_organization ao on ao.id = a.org_id
where t.effective_at >= %s and t.effective_at < %s order by t.effective_at, t.id, e.seq
"""
BALANCES: LiteralString = """
select coalesce(o.public_id, 'platform'), a.code, a.kind,
  coalesce(sum(e.amount_nanos) filter (where t.effective_at < %s), 0)::bigint,
  coalesce(sum(e.amount_nanos) filter (where t.effective_at < %s), 0)::bigint
from billing_ledgeraccount a left join accounts_organization o on o.id = a.org_id
left join billing_ledgerentry e on e.account_id = a.id
left join billing_ledgertransaction t on t.id = e.txn_id
group by 1, 2, 3 order by 1, 2
"""
_ROOTS = {"asset": "Assets", "liability": "Liabilities", "income": "Income", "expense": "Expenses"}


def export_journal(
    connection: Connection[TupleRow], month: Month, path: Path, *, form: str
) -> ExportResult:
    """Write a UTC month's entries; debits and credits are equal or the result does not agree."""
    bounds = (month.start("UTC"), month.end("UTC"))
    debit_nanos = credit_nanos = 0

    def entries() -> Iterator[TupleRow]:
        nonlocal debit_nanos, credit_nanos
        for row in stream_rows(connection, QUERY, bounds):
            debit_nanos += max(row[7], 0)
            credit_nanos -= min(row[7], 0)
            yield row

    with path.open("w", encoding="utf-8", newline="") as file:
        if form == "beancount":
            balances = connection.execute(BALANCES, bounds).fetchall()
            count = _write_beancount(file, month, balances, entries())
        else:
            count = write_csv(file, COLUMNS, (_csv_row(row) for row in entries()))
    return ExportResult(count, debit_nanos, credit_nanos, file_hash(path))


def _csv_row(row: TupleRow) -> list[object]:
    at = f"{row[1]:%Y-%m-%dT%H:%M:%S.%f}Z"
    return [row[0], at, *row[2:7], render_usd(row[7]), *row[8:11]]


def _write_beancount(
    file: TextIO, month: Month, balances: list[TupleRow], entries: Iterable[TupleRow]
) -> int:
    start, end = month.start("UTC").date(), month.end("UTC").date()
    file.write('option "title" "Tollgate ledger"\noption "operating_currency" "USD"\n')
    file.write('option "tolerance_multiplier" "0"\n\n')
    file.writelines(
        f"{start - timedelta(days=1)} open {_account(owner, code, kind)} USD\n"
        for owner, code, kind, _, _ in balances
    )
    brought = [row for row in balances if row[3]]
    if brought:
        file.write(f'\n{start - timedelta(days=1)} * "balances brought forward"\n')
        file.writelines(
            f"  {_account(owner, code, kind)}  {render_usd(opening)} USD\n"
            for owner, code, kind, opening, _ in brought
        )
    current, count = None, 0
    for row in entries:
        if row[0] != current:
            current = row[0]
            note = f"{row[2]} {row[0]} {row[9]}".strip().replace("\\", "/").replace('"', "'")
            file.write(f'\n{row[1]:%Y-%m-%d} * "{row[3]}" "{" ".join(note.split())}"\n')
        file.write(f"  {_account(row[5], row[6], row[11])}  {render_usd(row[7])} USD\n")
        count += 1
    file.write("\n")
    file.writelines(
        f"{end} balance {_account(owner, code, kind)}  {render_usd(closing)} ~ 0 USD\n"
        for owner, code, kind, _, closing in balances
    )
    return count


def _account(owner: str, code: str, kind: str) -> str:
    """Return beancount's name of an account: ``Assets:Org-x:Receivable``."""
    holder = "Platform" if owner == "platform" else "Org-" + owner.removeprefix("org_")
    parts = [word.title().replace("_", "-") for word in code.split(":")]
    return ":".join([_ROOTS[kind], holder, *parts])

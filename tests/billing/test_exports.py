"""Exports: row counts and control totals that equal the ledger."""

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from billing.database import connect_sync
from billing.exports.invoices import export_invoices
from billing.exports.journal import export_journal
from billing.exports.usage import export_usage
from billing.exports.writing import ExportResult, escape_cell
from billing.invoices import Month, run_month
from kernel import clock
from tests.billing.past import use_at
from tests.billing.test_invoices import age, last_month, old_price
from tests.factories import make_tenant


def busy_month(database: str) -> Month:
    month, at = last_month()
    priced = old_price(month, input_usd="1.10", output_usd="2.30")
    for name, mode, limit in (("Acme", "prepaid", "0"), ("Globex", "postpaid", "50")):
        credit = "50" if mode == "prepaid" else "0"
        tenant = make_tenant(name, mode=mode, credit_usd=credit, credit_limit_usd=limit)
        age(tenant, month)
        for number in range(1, 8):
            use_at(database, tenant, at, priced, input_tokens=number * 999, output_tokens=number)
    run_month(month)
    return month


def export(database: str, kind: str, month: Month, path: Path, form: str = "csv") -> ExportResult:
    with (
        connect_sync(database, "export", statement_timeout_ms=10_000) as connection,
        connection.transaction(),
    ):
        if kind == "usage":
            return export_usage(connection, month, path)
        if kind == "invoices":
            return export_invoices(connection, month, path)
        return export_journal(connection, month, path, form=form)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def nanos(text: str) -> int:
    whole, fraction = text.removeprefix("-").split(".")
    return (-1 if text.startswith("-") else 1) * int(whole + fraction)


def test_the_usage_export_has_a_row_a_request_and_sums_to_the_ledger(
    database: str, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"

    result = export(database, "usage", busy_month(database), path)

    rows = rows_of(path)
    assert (result.rows, len(rows)) == (14, 14)
    assert sum(nanos(row["amount_usd"]) for row in rows) == result.control_nanos
    assert result.control_nanos == result.ledger_nanos > 0
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_invoice_export_sums_to_the_ledger(database: str, tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"

    result = export(database, "invoices", busy_month(database), path)

    rows = rows_of(path)
    assert [row["invoice"][-6:] for row in rows] == ["000001"] * 2 + ["000002"] * 2
    assert sum(nanos(row["amount_usd_exact"]) for row in rows) == result.control_nanos
    assert result.control_nanos == result.ledger_nanos > 0


def test_the_journals_debits_equal_its_credits(database: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.csv"

    result = export(database, "journal", busy_month(database), path)

    amounts = [nanos(row["amount_usd"]) for row in rows_of(path)]
    assert sum(amounts) == 0
    assert sum(amount for amount in amounts if amount > 0) == result.control_nanos
    assert result.agrees


@pytest.mark.parametrize("which", ["last month", "this month"])
def test_the_journal_passes_bean_check_without_tolerance(
    database: str, tmp_path: Path, which: str
) -> None:
    month = busy_month(database)
    if which == "this month":
        month = Month(clock.now().year, clock.now().month)
    path = tmp_path / "journal.beancount"

    result = export(database, "journal", month, path, form="beancount")
    checked = subprocess.run(
        [sys.executable, "-m", "beancount.scripts.check", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")
    assert result.rows > 0


def test_exporting_again_gives_the_same_bytes(database: str, tmp_path: Path) -> None:
    month = busy_month(database)

    first = export(database, "usage", month, tmp_path / "a.csv")
    second = export(database, "usage", month, tmp_path / "b.csv")

    assert first == second


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-5.00", "-5.00"),
        ("plain", "plain"),
        (None, ""),
        (-3, "-3"),
    ],
)
def test_a_cell_that_looks_like_a_formula_is_escaped(cell: object, written: str) -> None:
    assert escape_cell(cell) == written

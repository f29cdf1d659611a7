"""``prove``, ``export`` and ``invoice`` as commands: exit codes, names of broken rows, totals."""

import csv
import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from billing.models import LedgerEntry, OutboxEvent, ProofRun, UsageEvent
from kernel import clock
from tests.billing.past import use_at
from tests.commands.manage import Here, Manage
from tests.factories import make_price, make_tenant

THIS_MONTH = clock.now().strftime("%Y-%m")
# 7 × 1.00 + 9 × 2.00 dollars a million tokens
COST_USD = Decimal("0.000025")


def use_twice(database_url: str) -> None:
    acme = make_tenant()
    priced = make_price()
    for _ in range(2):
        use_at(database_url, acme, clock.now(), priced, input_tokens=7, output_tokens=9)


def corrupt(database_url: str, statement: LiteralString, *parameters: object) -> None:
    """Change a row as nobody can while the triggers are on."""
    with psycopg.connect(database_url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement, parameters)


def test_clean_books_are_proven_with_exit_code_0(manage: Manage) -> None:
    use_twice(manage.stores.database_url)

    proof = manage("prove", "--json").json

    assert proof["clean"] is True
    assert {finding["number"] for finding in proof["equations"]} >= {"I1", "I2", "I4", "I13", "I26"}
    assert [finding["rows"] for finding in proof["equations"]] == [[]] * len(proof["equations"])


@pytest.mark.tampers
def test_a_changed_usage_row_is_named_by_price_and_by_roll_up_with_exit_code_1(
    manage: Manage,
) -> None:
    use_twice(manage.stores.database_url)
    changed = UsageEvent.objects.order_by("request_id")[0]
    corrupt(
        manage.stores.database_url,
        "update billing_usageevent set output = output + 1 where request_id = %s",
        changed.request_id,
    )

    said = manage("prove")

    assert said.code == 1
    assert "DIFF I11a" in said.out
    assert f"         {changed.request_id}: 25000 ≠ 27000\n" in said.out
    assert "DIFF I17" in said.out
    assert said.out.count("DIFF") == 2
    assert said.out.splitlines()[-1].startswith("NOT clean: ")
    assert said.err == ""


@pytest.mark.tampers
def test_a_changed_entry_is_named_by_every_equation_it_breaks(manage: Manage) -> None:
    use_twice(manage.stores.database_url)
    entry = LedgerEntry.objects.filter(account__code="usage_revenue")[0]
    corrupt(
        manage.stores.database_url,
        "update billing_ledgerentry set amount_nanos = amount_nanos - 1"
        " where txn_id = %s and seq = %s",
        entry.txn_id,
        entry.seq,
    )

    said = manage("prove", "--json")

    assert (said.code, said.err) == (1, "")
    proof = json.loads(said.out)
    broken = {
        finding["number"]: finding["rows"] for finding in proof["equations"] if finding["rows"]
    }
    assert broken["I1"] == [[f"transaction {entry.txn_id}", "-1", "0"]]
    assert broken.keys() == {"I1", "I2", "I13", "I25a"}


@pytest.mark.tampers
def test_the_history_of_proofs_says_what_each_found(manage: Manage) -> None:
    use_twice(manage.stores.database_url)
    assert manage("prove").code == 0
    corrupt(
        manage.stores.database_url, "update billing_billingaccount set held_nanos = held_nanos + 1"
    )
    assert manage("prove").code == 1

    history = manage("prove", "history", "--json").json

    assert [(run["clean"], run["broken"]) for run in history] == [(False, "I6a"), (True, "")]
    found = {finding["number"]: finding["rows"] for finding in history[0]["findings"]}
    assert found["I6a"][0][1:] == ["1", "0"]
    told = OutboxEvent.objects.get(kind="proof.broken").payload
    assert (told["run"], told["differences"]) == (history[0]["run"], 1)
    assert told["first"] == [f"I6a {found['I6a'][0][0]}: 1 ≠ 0"]


@pytest.mark.tampers
def test_closing_a_month_proves_the_books(manage: Manage) -> None:
    use_twice(manage.stores.database_url)
    period = ("invoice", "run", "--period", THIS_MONTH, "--json")
    assert manage(*period).code == 0
    assert ProofRun.objects.count() == 1
    corrupt(
        manage.stores.database_url, "update billing_billingaccount set held_nanos = held_nanos + 1"
    )

    said = manage(*period)

    assert said.code == 1
    assert "NOT clean: " in said.err


def test_an_export_prints_a_control_total_that_is_the_files_and_the_ledgers(
    manage: Manage, tmp_path: Path
) -> None:
    use_twice(manage.stores.database_url)
    path = tmp_path / "usage.csv"

    said = manage(*("export", "usage", "--period", THIS_MONTH, "--out", str(path), "--json")).json

    assert said == {
        "kind": "usage",
        "period": THIS_MONTH,
        "file": str(path),
        "rows": 2,
        "control_total_usd": "0.000050000",
        "ledger_total_usd": "0.000050000",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Decimal(row["amount_usd"]) for row in rows] == [COST_USD, COST_USD]


@pytest.mark.tampers
def test_an_export_that_does_not_agree_with_the_ledger_ends_with_exit_code_1(
    manage: Manage, tmp_path: Path
) -> None:
    use_twice(manage.stores.database_url)
    corrupt(manage.stores.database_url, "update billing_usageevent set amount_nanos = 24999")

    said = manage("export", "usage", "--period", THIS_MONTH, "--out", str(tmp_path / "usage.csv"))

    assert said.code == 1
    assert said.err == (
        "CommandError: The control total is not the ledger's. Run ./tollgate prove.\n"
    )
    assert "control_total_usd: 0.000049998\nledger_total_usd: 0.000050000\n" in said.out


def test_the_journal_is_written_for_beancount_and_its_checker_agrees(
    manage: Manage, tmp_path: Path
) -> None:
    use_twice(manage.stores.database_url)
    path = tmp_path / "journal.beancount"

    said = manage(
        *("export", "journal", "--period", THIS_MONTH, "--format", "beancount"),
        *("--out", str(path), "--json"),
    ).json

    assert said["control_total_usd"] == said["ledger_total_usd"] == "100.000050000"
    checked = subprocess.run(
        [sys.executable, "-m", "beancount.scripts.check", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


BAD_EXPORTS: list[tuple[tuple[str, ...], str]] = [
    (
        ("usage", "--period", "2026-13", "--out", "x"),
        "'2026-13' is not a month: write YYYY-MM.",
    ),
    (
        ("usage", "--period", "２026-10", "--out", "x"),
        "'２026-10' is not a month: write YYYY-MM.",
    ),
    (
        ("usage", "--period", "2026-10", "--format", "beancount", "--out", "x"),
        "usage is not written as beancount; use csv.",
    ),
    (
        ("usage", "--period", "2026-10", "--out", "/nonexistent/x"),
        "/nonexistent/x cannot be written: No such file or directory.",
    ),
]


def test_a_bad_export_is_one_line(here: Here) -> None:
    for arguments, line in BAD_EXPORTS:
        assert here.refused("export", *arguments) == line


def test_a_month_is_closed_listed_and_its_document_written(
    manage: Manage, here: Here, tmp_path: Path
) -> None:
    acme = make_tenant(mode="postpaid", credit_usd="0.00", credit_limit_usd="5")
    at = datetime(2026, 10, 15, tzinfo=UTC)
    acme.org.created_at = at
    acme.org.save()
    version, price = make_price()
    corrupt(manage.stores.database_url, "update billing_priceversion set effective_from = %s", at)
    use_at(
        *(manage.stores.database_url, acme, at, (version, price)),
        input_tokens=10_000,
        output_tokens=0,
    )

    closed = manage("invoice", "run", "--period", "2026-10", "--json").json
    again = manage("invoice", "run", "--period", "2026-10", "--json").json
    listed = here("invoice", "list", "--json").json
    path = tmp_path / "invoice.pdf"
    written = here("invoice", "pdf", closed[0]["number"], "--out", str(path), "--json").json

    assert closed == again
    assert [one["number"] for one in listed] == [closed[0]["number"]]
    assert (closed[0]["state"], closed[0]["total_usd"], closed[0]["due_usd"]) == (
        "final",
        "0.01",
        "0.01",
    )
    assert written["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes().startswith(b"%PDF-")
    assert manage("prove").code == 0


def test_a_document_that_is_not_there_is_one_line(here: Here) -> None:
    for number in ("INV-2026-000001", "nonsense", "INV-2026-", ""):
        assert here.refused("invoice", "pdf", number, "--out", "x") == (
            f"There is no final invoice {number!r}."
        )

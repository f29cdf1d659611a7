"""``manage export usage|invoices|journal``: files that add up, or exit code 1."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.commands import one_line_faults
from billing.database import connect_sync
from billing.exports.invoices import export_invoices
from billing.exports.journal import export_journal
from billing.exports.usage import export_usage
from billing.exports.writing import ExportResult
from billing.invoices import Month, parse_month
from kernel.cli import print_row
from kernel.money import render_usd

FORMS = {"usage": ("csv",), "invoices": ("csv",), "journal": ("csv", "beancount")}


class Command(BaseCommand):
    help = "Export a month with its row count and a control total that equals the ledger."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=list(FORMS))
        parser.add_argument("--period", required=True, metavar="YYYY-MM")
        parser.add_argument("--format", default="csv", choices=["csv", "beancount"])
        parser.add_argument("--out", required=True, metavar="FILE")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        kind, form, path = options["kind"], options["format"], Path(options["out"])
        if form not in FORMS[kind]:
            raise CommandError(f"{kind} is not written as {form}; use {' or '.join(FORMS[kind])}.")
        with one_line_faults():
            result = _export(kind, parse_month(options["period"]), path, form)
        row = {
            "kind": kind,
            "period": options["period"],
            "file": str(path),
            "rows": result.rows,
            "control_total_usd": render_usd(result.control_nanos),
            "ledger_total_usd": render_usd(result.ledger_nanos),
            "sha256": result.sha256,
        }
        print_row(row, as_json=options["json"])
        if not result.agrees:
            raise CommandError("The control total is not the ledger's. Run ./tollgate prove.")


def _export(kind: str, month: Month, path: Path, form: str) -> ExportResult:
    with (
        connect_sync(
            settings.DATABASE_URL, "tollgate-export", statement_timeout_ms=600_000
        ) as connection,
        connection.transaction(),
    ):
        connection.execute("set transaction isolation level repeatable read, read only")
        match kind:
            case "usage":
                return export_usage(connection, month, path)
            case "invoices":
                return export_invoices(connection, month, path)
            case _:
                return export_journal(connection, month, path, form=form)

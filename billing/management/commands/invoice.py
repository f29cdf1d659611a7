"""``manage invoice run|list|pdf``: closing months and looking at what came of it."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError

from accounts.commands import VerbCommand
from billing.invoices import parse_month, run_month
from billing.management.proving import prove_now, render_verdict
from billing.models import Invoice
from kernel.cli import print_row, print_rows
from kernel.errors import NotFoundError
from kernel.money import render_cents, render_usd


class Command(VerbCommand):
    help = "Close a month into invoices, list them, write their PDFs."

    def add_verbs(self, verbs: Any) -> None:
        run = self.add_verb(
            verbs, "run", "Close a month for all, then prove the books; safe to repeat."
        )
        run.add_argument("--period", required=True, metavar="YYYY-MM")
        self.add_verb(verbs, "list", "List invoices.")
        pdf = self.add_verb(verbs, "pdf", "Write a final invoice's PDF.")
        pdf.add_argument("number", help="for example INV-2026-000001")
        pdf.add_argument("--out", required=True, metavar="FILE")

    def do_run(self, options: dict[str, Any]) -> None:
        invoices = run_month(parse_month(options["period"]))
        print_rows([_row(invoice) for invoice in invoices], as_json=options["json"])
        drafts = sum(invoice.state == Invoice.State.DRAFT for invoice in invoices)
        if drafts:
            self.stderr.write(
                f"{drafts} stay drafts: the month is not over there, or holds of it are still open."
            )
        proof = prove_now()
        if not proof.clean:
            raise CommandError(f"{render_verdict(proof)}. Run ./tollgate prove.")

    def do_list(self, options: dict[str, Any]) -> None:
        invoices = Invoice.objects.select_related("org").defer("pdf").order_by("id")
        print_rows([_row(invoice) for invoice in invoices], as_json=options["json"])

    def do_pdf(self, options: dict[str, Any]) -> None:
        series, _, number = options["number"].rpartition("-")
        invoice = Invoice.objects.filter(
            series_id=series, number=int(number) if number.isdecimal() else 0
        ).first()
        if invoice is None or invoice.pdf is None:
            raise NotFoundError(f"There is no final invoice {options['number']!r}.")
        Path(options["out"]).write_bytes(bytes(invoice.pdf))
        row = {"number": options["number"], "file": options["out"], "sha256": invoice.pdf_sha256}
        print_row(row, as_json=options["json"])


def _row(invoice: Invoice) -> dict[str, Any]:
    zone = ZoneInfo(invoice.timezone)
    return {
        "number": invoice.document_number or None,
        "state": invoice.state,
        "org": invoice.org.public_id,
        "name": invoice.org.name,
        "period": invoice.month,
        "period_start": invoice.period_start.astimezone(zone).isoformat(),
        "period_end": invoice.period_end.astimezone(zone).isoformat(),
        "lines": invoice.lines.count(),
        "usage_usd": render_usd(invoice.usage_nanos),
        "total_usd": render_cents(invoice.total_cents),
        "due_usd": render_cents(invoice.due_cents),
    }

"""The invoice as a document: PDF/A-3b by typst, byte for byte the same when made again."""

import json
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import typst
from django.conf import settings

from billing.models import Invoice, InvoiceLine
from kernel.money import NANOS_PER_CENT, render_cents, render_usd, round_half_up

TEMPLATE = Path(settings.BASE_DIR) / "templates" / "billing" / "invoice.typ"


def render_invoice(invoice: Invoice) -> bytes:
    """Return the PDF of an invoice that has its number and time of issue."""
    assert invoice.issued_at is not None
    issued_at = invoice.issued_at.astimezone(UTC).replace(microsecond=0)
    facts = _facts(invoice)
    pdf = typst.compile(
        TEMPLATE.read_bytes(),
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"invoice": json.dumps(facts, ensure_ascii=False)},
        pdf_standards=["a-3b"],
        timestamp=issued_at,
    )
    assert isinstance(pdf, bytes)
    return pdf


def _facts(invoice: Invoice) -> dict[str, object]:
    assert invoice.issued_at is not None
    zone = invoice.timezone
    issued = invoice.issued_at.astimezone(ZoneInfo(zone))
    return {
        "number": invoice.document_number,
        "period": invoice.month,
        "period_start": f"{invoice.period_start.astimezone(ZoneInfo(zone)):%Y-%m-%d}",
        "period_end": f"{invoice.period_end.astimezone(ZoneInfo(zone)):%Y-%m-%d}",
        "zone": zone,
        "issued": f"{issued:%Y-%m-%d}",
        "issued_parts": [issued.year, issued.month, issued.day],
        "customer": invoice.customer_name,
        "customer_id": invoice.org.public_id,
        "total": render_cents(invoice.total_cents),
        "credit": render_cents(round_half_up(invoice.prepaid_nanos, NANOS_PER_CENT)),
        "due": render_cents(invoice.due_cents),
        "lines": [
            {
                "project": line.project_name,
                "model": line.model,
                "bucket": _bucket(line),
                "quantity": f"{int(line.quantity):,}",
                "price": render_usd(line.price_nanos, places=2),
                "amount": render_cents(line.amount_cents),
            }
            for line in invoice.lines.order_by("seq")
        ],
    }


def _bucket(line: InvoiceLine) -> str:
    name = line.bucket.replace("_", " ")
    return name if line.cache_percent is None else f"{name}, cached ({line.cache_percent} %)"

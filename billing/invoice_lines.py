"""The lines of an invoice: project × model × token bucket × price version, summing to the ledger.

A request is rounded to whole nanos once, over all its buckets; so the buckets of many requests,
each priced exactly, differ from what was charged by less than a nano a request. That difference
stands in the group's largest line, and a line therefore says what was charged, to the nano.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Sum

from accounts.models import Project
from billing.models import Invoice, InvoiceLine, LedgerEntry, PriceVersion, UsageEvent
from billing.usage import BUCKETS, Usage
from kernel.money import NANOS_PER_CENT, UNITS_PER_PRICE, round_half_even, round_half_up


@dataclass(frozen=True, slots=True)
class _Part:
    bucket: str
    quantity: int
    price_nanos: int
    amount_nanos: int


def draw_lines(invoice: Invoice) -> None:
    """Replace a draft's lines and totals by what its period's usage comes to."""
    invoice.lines.all().delete()
    projects = {project.pk: project for project in Project.objects.filter(org_id=invoice.org_id)}
    lines: list[InvoiceLine] = []
    groups = (
        UsageEvent.objects.filter(
            org_id=invoice.org_id,
            occurred_at__gte=invoice.period_start,
            occurred_at__lt=invoice.period_end,
        )
        .values("project_id", "model", "price_version_id")
        .annotate(
            charged=Sum("amount_nanos"),
            requests=Count("request_id"),
            **{f"total_{bucket}": Sum(bucket) for bucket in BUCKETS},
        )
        .order_by("project_id", "model", "price_version_id")
    )
    versions = PriceVersion.objects.in_bulk({group["price_version_id"] for group in groups})
    for group in groups:
        version = versions[group["price_version_id"]]
        totals: dict[str, Any] = dict(group)
        used = Usage(**{bucket: int(totals[f"total_{bucket}"]) for bucket in BUCKETS})
        for part in split_charge(used, version.as_prices(), int(group["charged"])):
            lines.append(
                InvoiceLine(
                    invoice=invoice,
                    seq=len(lines) + 1,
                    project=projects[group["project_id"]],
                    project_name=projects[group["project_id"]].name,
                    model=group["model"],
                    bucket=part.bucket,
                    price_version=version,
                    price_nanos=part.price_nanos,
                    quantity=part.quantity,
                    requests=group["requests"],
                    amount_nanos=part.amount_nanos,
                    amount_cents=round_half_up(part.amount_nanos, NANOS_PER_CENT),
                )
            )
    InvoiceLine.objects.bulk_create(lines)
    invoice.usage_nanos = sum(line.amount_nanos for line in lines)
    invoice.total_cents = sum(line.amount_cents for line in lines)
    invoice.prepaid_nanos = _paid_from_credit(invoice)


def split_charge(used: Usage, prices: Usage, charged_nanos: int) -> list[_Part]:
    """Split what was charged over the buckets that were used and cost something.

    The parts sum to ``charged_nanos`` exactly; the largest takes the difference.
    """
    parts = [
        _Part(bucket, quantity, price, round_half_even(quantity * price, UNITS_PER_PRICE))
        for bucket in BUCKETS
        if (quantity := getattr(used, bucket)) and (price := getattr(prices, bucket))
    ]
    if not parts:
        return []
    difference = charged_nanos - sum(part.amount_nanos for part in parts)
    largest = max(range(len(parts)), key=lambda place: parts[place].amount_nanos)
    part = parts[largest]
    parts[largest] = _Part(
        part.bucket, part.quantity, part.price_nanos, part.amount_nanos + difference
    )
    return parts


def _paid_from_credit(invoice: Invoice) -> int:
    total = LedgerEntry.objects.filter(
        txn__org_id=invoice.org_id,
        txn__kind="usage",
        txn__effective_at__gte=invoice.period_start,
        txn__effective_at__lt=invoice.period_end,
        account__org_id=invoice.org_id,
        account__code="deferred_revenue",
    ).aggregate(total=Sum("amount_nanos"))["total"]
    return int(total or 0)

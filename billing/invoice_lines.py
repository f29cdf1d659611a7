"""The lines of an invoice: project × model × token bucket × price version, summing to the ledger.

Answers out of the cache cost a share of the version's price, and have lines of their own.

A request is rounded to whole nanos once, over all its buckets; so the buckets of many requests,
each priced exactly, differ from what was charged by less than a nano a request. That difference
stands in the group's largest line, and a line therefore says what was charged, to the nano.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, IntegerField, QuerySet, Sum, Value
from django.db.models.functions import Greatest

from accounts.models import Project
from billing.models import Invoice, InvoiceLine, LedgerEntry, NetUsage, PriceVersion
from billing.prices import as_price
from billing.pricing import Price
from billing.usage import BUCKETS
from kernel.money import NANOS_PER_CENT, UNITS_PER_PRICE, round_half_even, round_half_up

_GROUP = ("project_id", "model", "price_version_id", "cache_percent")


@dataclass(frozen=True, slots=True)
class Portion:
    """So many units of a bucket at ``percent`` of a price; a bucket with tiers has several."""

    bucket: str
    quantity: int
    price_nanos: int
    percent: int = 100


@dataclass(frozen=True, slots=True)
class _Part:
    bucket: str
    quantity: int
    price_nanos: int
    amount_nanos: int


def draw_lines(invoice: Invoice) -> None:
    """Replace a draft's lines and totals by what its period's usage comes to.

    Usage is net: a reversal stands in the period in which it was made.
    """
    invoice.lines.all().delete()
    projects = {project.pk: project for project in Project.objects.filter(org_id=invoice.org_id)}
    lines: list[InvoiceLine] = []
    usage = NetUsage.objects.filter(
        org_id=invoice.org_id,
        occurred_at__gte=invoice.period_start,
        occurred_at__lt=invoice.period_end,
    )
    groups = (
        usage.values(*_GROUP)
        .annotate(
            charged=Sum("amount_nanos"),
            requests=Sum("calls"),
            **{f"total_{bucket}": Sum(bucket) for bucket in BUCKETS},
        )
        .order_by(*_GROUP)
    )
    versions = PriceVersion.objects.in_bulk({group["price_version_id"] for group in groups})
    for group in groups:
        version = versions[group["price_version_id"]]
        group_usage = usage.filter(**{f"{column}__exact": group[column] for column in _GROUP})
        portions = _portions(as_price(version), dict(group), group_usage)
        for part in split_charge(portions, int(group["charged"])):
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
                    cache_percent=group["cache_percent"],
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


def split_charge(portions: Sequence[Portion], charged_nanos: int) -> list[_Part]:
    """Split what was charged over the portions that were used and cost something.

    The parts sum to ``charged_nanos`` exactly; the largest takes the difference.
    """
    parts = [
        _Part(
            portion.bucket,
            portion.quantity,
            round_half_even(portion.price_nanos * portion.percent, 100),
            round_half_even(
                portion.quantity * portion.price_nanos * portion.percent, UNITS_PER_PRICE * 100
            ),
        )
        for portion in portions
        if portion.quantity and portion.price_nanos and portion.percent
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


def _portions(price: Price, totals: Mapping[str, Any], usage: QuerySet[NetUsage]) -> list[Portion]:
    percent = 100 if totals["cache_percent"] is None else totals["cache_percent"]
    portions = []
    for bucket in BUCKETS:
        quantity, nanos = int(totals[f"total_{bucket}"]), getattr(price.per_million, bucket)
        for tier in price.tiers.get(bucket, ()):
            above = _units_above(usage, bucket, tier.above)
            portions.append(Portion(bucket, quantity - above, nanos, percent))
            quantity, nanos = above, tier.nanos
        portions.append(Portion(bucket, quantity, nanos, percent))
    return portions


def _units_above(usage: QuerySet[NetUsage], bucket: str, above: int) -> int:
    """Return how many units lie above a tier's bound, request by request; reversals take back."""
    zero = Value(0, IntegerField())
    used, taken_back = F(bucket) - Value(above), -F(bucket) - Value(above)
    total = usage.aggregate(units=Sum(Greatest(used, zero) - Greatest(taken_back, zero)))["units"]
    return int(total or 0)


def _paid_from_credit(invoice: Invoice) -> int:
    total = LedgerEntry.objects.filter(
        txn__org_id=invoice.org_id,
        txn__kind__in=("usage", "reversal"),
        txn__effective_at__gte=invoice.period_start,
        txn__effective_at__lt=invoice.period_end,
        account__org_id=invoice.org_id,
        account__code__in=("deferred_revenue", "promotional_credit"),
    ).aggregate(total=Sum("amount_nanos"))["total"]
    return int(total or 0)

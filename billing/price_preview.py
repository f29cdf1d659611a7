"""What a price would have changed: the usage of the last days, charged again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString, NamedTuple

from django.db import connection

from accounts.models import Organization
from billing.prices import PriceSpec, check_spec
from billing.usage import BUCKETS
from kernel import clock
from kernel.errors import BadRequestError
from kernel.money import UNITS_PER_PRICE, round_half_even

MOST_DAYS = 90
_SUMS = ", ".join(f"sum({bucket})" for bucket in BUCKETS)
USED: LiteralString = f"""
select org_id, sum(requests), sum(amount_nanos), {_SUMS} from billing_usagehour
where model = %(model)s and hour >= %(since)s and (%(org)s::bigint is null or org_id = %(org)s)
  and (%(org)s::bigint is not null or not exists (
    select 1 from billing_priceversion p where p.model = %(model)s
      and p.org_id = billing_usagehour.org_id and p.effective_from <= now()))
group by org_id order by sum(amount_nanos) desc, org_id
"""  # noqa: S608 # column names of our own
_ABOVE = """select org_id, {sums} from billing_usagenet
where model = %(model)s and occurred_at >= %(since)s and org_id = any(%(orgs)s) group by org_id"""
_CACHED = """select org_id, 100 - cache_percent, {sums} from billing_usagenet
where model = %(model)s and occurred_at >= %(since)s and org_id = any(%(orgs)s)
  and cache_percent is not null group by 1, 2"""


@dataclass(frozen=True, slots=True)
class Effect:
    """One organization's usage of the model: what it was charged and what it would have been."""

    org: Organization
    requests: int
    charged_nanos: int
    would_be_nanos: int

    @property
    def difference_nanos(self) -> int:
        return self.would_be_nanos - self.charged_nanos


def preview_price(spec: PriceSpec, *, days: int) -> list[Effect]:
    """Charge the last ``days`` of usage at a price that is not published; the largest first.

    A list price leaves out organizations that have their own. Whole hours are read, summed before
    they are rounded: a charge differs from the calls' own rounding by less than a nano each.

    Raises:
        BadRequestError: for a price that cannot be, or days outside 1 to 90.

    """
    check_spec(spec)
    if not 1 <= days <= MOST_DAYS:
        raise BadRequestError(f"Preview 1 to {MOST_DAYS} days.", param="days")
    since = (clock.now() - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    asked: dict[str, Any] = {
        "model": spec.model,
        "since": since,
        "org": None if spec.org is None else spec.org.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(USED, asked)
        rows = cursor.fetchall()
    asked["orgs"] = [row[0] for row in rows]
    above, spared = _above_tiers(spec, asked), _spared_by_cache(spec, asked)
    orgs = Organization.objects.in_bulk([row[0] for row in rows])
    effects = []
    for org_id, requests, charged, *quantities in rows:
        total = sum(
            int(quantity) * getattr(spec.per_million, bucket)
            for bucket, quantity in zip(BUCKETS, quantities, strict=True)
        )
        total += above.get(org_id, 0)
        would_be = round_half_even(total * 100 - spared[org_id], UNITS_PER_PRICE * 100)
        effects.append(Effect(orgs[org_id], int(requests), int(charged), would_be))
    return effects


def _above_tiers(spec: PriceSpec, asked: dict[str, Any]) -> dict[int, int]:
    """Return what tiers add, request by request, in nanos per million units by organization."""
    steps = _steps(spec)
    if not steps or not asked["orgs"]:
        return {}
    sums = ", ".join(step.units for step in steps)
    with connection.cursor() as cursor:
        cursor.execute(_ABOVE.format(sums=sums), asked)
        rows = cursor.fetchall()
    return {org_id: _total(steps, quantities) for org_id, *quantities in rows}


def _spared_by_cache(spec: PriceSpec, asked: dict[str, Any]) -> Mapping[int, int]:
    """Return what answers out of the cache do not cost, in nanos per 100 million units."""
    firsts = [_Step(f"sum({bucket})", getattr(spec.per_million, bucket)) for bucket in BUCKETS]
    steps = [*firsts, *_steps(spec)]
    sums = ", ".join(step.units for step in steps)
    with connection.cursor() as cursor:
        cursor.execute(_CACHED.format(sums=sums), asked)
        rows = cursor.fetchall()
    spared: defaultdict[int, int] = defaultdict(int)
    for org_id, percent, *quantities in rows:
        spared[org_id] += percent * _total(steps, quantities)
    return spared


def _steps(spec: PriceSpec) -> list["_Step"]:
    return [
        _Step(
            f"sum(greatest({bucket} - {tier.above}, 0) - greatest(-{bucket} - {tier.above}, 0))",
            tier.nanos - before,
        )
        for bucket, tiers in spec.tiers.items()
        for tier, before in zip(
            tiers,
            [getattr(spec.per_million, bucket), *(tier.nanos for tier in tiers)],
            strict=False,
        )
    ]


class _Step(NamedTuple):
    """Units, as a sum over usage, and what each adds to the price in nanos per million."""

    units: str
    nanos: int


def _total(steps: Sequence[_Step], quantities: Sequence[Any]) -> int:
    return sum(int(units) * step.nanos for units, step in zip(quantities, steps, strict=True))

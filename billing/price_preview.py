"""What a price would have changed: the usage of the last days, charged again."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString

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
    above = _above_tiers(spec, {**asked, "orgs": [row[0] for row in rows]})
    orgs = Organization.objects.in_bulk([row[0] for row in rows])
    effects = []
    for org_id, requests, charged, *quantities in rows:
        total = sum(
            int(quantity) * getattr(spec.per_million, bucket)
            for bucket, quantity in zip(BUCKETS, quantities, strict=True)
        )
        would_be = round_half_even(total + above.get(org_id, 0), UNITS_PER_PRICE)
        effects.append(Effect(orgs[org_id], int(requests), int(charged), would_be))
    return effects


def _above_tiers(spec: PriceSpec, asked: dict[str, Any]) -> dict[int, int]:
    """Return what tiers add, request by request, in nanos per million units by organization."""
    steps = [
        (bucket, tier.above, tier.nanos - before)
        for bucket, tiers in spec.tiers.items()
        for tier, before in zip(
            tiers,
            [getattr(spec.per_million, bucket), *(tier.nanos for tier in tiers)],
            strict=False,
        )
    ]
    if not steps or not asked["orgs"]:
        return {}
    sums = ", ".join(
        f"sum(greatest({bucket} - {above}, 0) - greatest(-{bucket} - {above}, 0))"
        for bucket, above, _ in steps
    )
    with connection.cursor() as cursor:
        cursor.execute(_ABOVE.format(sums=sums), asked)
        rows = cursor.fetchall()
    return {
        org_id: sum(int(units) * step[2] for units, step in zip(quantities, steps, strict=True))
        for org_id, *quantities in rows
    }

"""Publishing prices: a new version takes over at its time, earlier ones are never edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from accounts.audit import record_change
from accounts.models import Organization
from billing.models import PriceVersion, ProviderCost
from billing.pricing import Price, Tier, Tiers, parse_tiers
from billing.usage import BUCKETS, Usage
from kernel import clock
from kernel.errors import BadRequestError, ConflictError
from kernel.money import check_nanos, render_usd

MOST_TIERS = 10
MOST_LISTED = 500


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """A price to be: nanos per 1,000,000 units by bucket, graduated by ``tiers`` within a request.

    ``org`` None is the list price. ``effective_from`` None is now; a time to come announces it.
    A price of nothing at all must say that it is meant: ``is_free``.
    """

    model: str
    per_million: Usage
    tiers: Tiers = field(default_factory=dict)
    org: Organization | None = None
    effective_from: datetime | None = None
    is_free: bool = False


def publish_price(
    model: str, per_million: Usage, *, actor: str, org: Organization | None = None
) -> PriceVersion:
    """Add a plain version in force from now on; see ``publish``."""
    return publish(PriceSpec(model, per_million, org=org), actor=actor)


def publish(spec: PriceSpec, *, actor: str, approved_by: str = "") -> PriceVersion:
    """Add a version.

    Raises:
        BadRequestError: for a price of nothing that is not said to be free, a time in the past, or
            tiers that do not rise.
        ConflictError: for a second version of the same moment.

    """
    check_spec(spec)
    now = clock.now()
    try:
        with transaction.atomic():
            version = PriceVersion.objects.create(
                model=spec.model,
                org=spec.org,
                effective_from=spec.effective_from or now,
                tiers=render_tiers(spec.tiers),
                created_by=actor,
                approved_by=approved_by,
                **{f"{bucket}_nanos": getattr(spec.per_million, bucket) for bucket in BUCKETS},
            )
            record_change(
                None if spec.org is None else spec.org.pk,
                actor,
                "price.publish",
                spec.model,
                after={
                    "version": version.pk,
                    "effective_from": version.effective_from.isoformat(),
                    "usd_per_million": {
                        bucket: render_usd(nanos, places=2)
                        for bucket, nanos in spec.per_million.as_dict().items()
                    },
                    **({"tiers": render_tiers(spec.tiers)} if spec.tiers else {}),
                },
            )
    except IntegrityError as error:
        raise ConflictError("There is a price of this model for this moment already.") from error
    return version


def check_spec(spec: PriceSpec) -> None:
    """Check a price without publishing it; raises what ``publish`` raises."""
    prices = [check_nanos(getattr(spec.per_million, bucket)) for bucket in BUCKETS]
    if spec.is_free and (any(prices) or spec.tiers):
        raise BadRequestError("A free model has no price in any bucket.", param="price")
    if not (spec.is_free or any(prices) or spec.tiers):
        raise BadRequestError(
            "A price must be above zero in at least one bucket; say so if the model is free.",
            param="price",
        )
    if spec.effective_from is not None and spec.effective_from < clock.now():
        raise BadRequestError("A price cannot take effect in the past.", param="effective_from")
    for bucket, steps in spec.tiers.items():
        _check_tiers(bucket, steps)


def _check_tiers(bucket: str, steps: Sequence[Tier]) -> None:
    if bucket not in BUCKETS:
        raise BadRequestError(f"{bucket!r} is not a usage bucket.", param="tiers")
    if not 1 <= len(steps) <= MOST_TIERS:
        raise BadRequestError(f"Give 1 to {MOST_TIERS} tiers for {bucket}.", param="tiers")
    above = 0
    for tier in steps:
        check_nanos(tier.nanos)
        if type(tier.above) is not int or not above < tier.above < 10**12:
            raise BadRequestError(f"The tiers of {bucket} must rise from above 0.", param="tiers")
        above = tier.above


def text_price(input_nanos: int, output_nanos: int, *, cached_nanos: int | None = None) -> Usage:
    """Return a text model's prices: reasoning costs as output, cached input as input or less."""
    cached = input_nanos if cached_nanos is None else cached_nanos
    return Usage(
        input=input_nanos,
        cached_input=cached,
        cache_write=input_nanos,
        output=output_nanos,
        reasoning=output_nanos,
        embedding=input_nanos,
    )


def current_price(model: str, org: Organization | None = None) -> PriceVersion | None:
    """Return the version in force now: the organization's own before the list's; None without."""
    for owner in (org, None) if org is not None else (None,):
        found = (
            PriceVersion.objects.filter(model=model, org=owner, effective_from__lte=clock.now())
            .order_by("-effective_from", "-id")
            .first()
        )
        if found is not None:
            return found
    return None


def as_price(version: PriceVersion) -> Price:
    return Price(version.pk, version.as_prices(), parse_tiers(version.tiers_by_bucket))


def render_tiers(tiers: Tiers) -> Mapping[str, Any] | None:
    """Return tiers as a version stores them, None without any."""
    return {bucket: [list(tier) for tier in steps] for bucket, steps in tiers.items()} or None


def set_provider_cost(
    provider: str, upstream_model: str, per_million: Usage, *, actor: str
) -> ProviderCost:
    """Say what a provider charges us for one of its models, from now on."""
    prices = {bucket: check_nanos(getattr(per_million, bucket)) for bucket in BUCKETS}
    with transaction.atomic():
        cost = ProviderCost.objects.create(
            provider=provider,
            upstream_model=upstream_model,
            effective_from=clock.now(),
            created_by=actor,
            **{f"{bucket}_nanos": nanos for bucket, nanos in prices.items()},
        )
        record_change(
            None, actor, "cost.set", f"{provider} {upstream_model}", after={"version": cost.pk}
        )
    return cost


def list_versions(model: str) -> list[PriceVersion]:
    """Return a model's versions, the list's and organizations' own, newest first."""
    versions = PriceVersion.objects.filter(model=model).select_related("org")
    return list(versions.order_by("-effective_from", "-id")[:MOST_LISTED])


def render_version(version: PriceVersion) -> dict[str, Any]:
    """Return a version for programs: prices as decimal strings of USD per 1M units."""
    return {
        "id": version.pk,
        "model": version.model,
        "organization": None if version.org is None else version.org.public_id,
        "effective_from": version.effective_from.isoformat(),
        "usd_per_million": {
            bucket: render_usd(nanos, places=2)
            for bucket, nanos in version.as_prices().as_dict().items()
        },
        "tiers": {
            bucket: [[above, render_usd(nanos, places=2)] for above, nanos in steps]
            for bucket, steps in version.tiers_by_bucket.items()
        },
        "created_by": version.created_by,
        "approved_by": version.approved_by or None,
    }

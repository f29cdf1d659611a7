"""Publishing prices: a new version takes over at its time, earlier ones are never edited."""

from billing.models import PriceVersion
from billing.usage import BUCKETS, Usage
from kernel import clock
from kernel.errors import BadRequestError
from kernel.money import check_nanos


def publish_price(model: str, per_million: Usage, *, actor: str) -> PriceVersion:
    """Add a version in nanos per 1,000,000 units, in force from now on.

    Raises:
        BadRequestError: for a price of nothing at all.

    """
    prices = {bucket: check_nanos(getattr(per_million, bucket)) for bucket in BUCKETS}
    if not any(prices.values()):
        raise BadRequestError("A price must be above zero in at least one bucket.", param="price")
    return PriceVersion.objects.create(
        model=model,
        effective_from=clock.now(),
        created_by=actor,
        **{f"{bucket}_nanos": nanos for bucket, nanos in prices.items()},
    )


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


def current_price(model: str) -> PriceVersion | None:
    """Return the version in force now, None for a model without a price."""
    return (
        PriceVersion.objects.filter(model=model, org=None, effective_from__lte=clock.now())
        .order_by("-effective_from", "-id")
        .first()
    )

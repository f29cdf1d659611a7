"""What usage costs. Pure.

A charge is the sum over buckets of quantity × price, in integers, divided by the 1,000,000 units a
price is for, and rounded half to even: once a request, never per bucket. Tiers are graduated within
one request: what lies above a tier's bound costs the tier's price, what lies below is untouched. An
answer out of the cache costs a share of the sum, in whole per cent, before that rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import mul
from typing import NamedTuple

from billing.usage import Usage
from kernel.money import UNITS_PER_PRICE, Nanos, round_half_even


class Tier(NamedTuple):
    """From the first unit above ``above`` on, a bucket costs ``nanos`` per 1,000,000 units."""

    above: int
    nanos: int


Tiers = Mapping[str, Sequence[Tier]]
INPUT_BUCKETS = ("input", "cached_input", "cache_write", "audio_input", "embedding")
OUTPUT_BUCKETS = ("output", "reasoning", "audio_output")


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a model's price: nanos per 1,000,000 units by bucket.

    ``cache_percent`` is the share of it that an answer out of the cache costs, None for others;
    ``percent`` is that share, or 100. ``highest_input`` and ``highest_output`` are the dearest
    buckets, at their dearest tiers, that a prompt's and a completion's token can land in.
    """

    version_id: int
    per_million: Usage
    tiers: Tiers = field(default_factory=dict)
    cache_percent: int | None = None
    is_free: bool = field(init=False, compare=False)
    highest_input: int = field(init=False, compare=False)
    highest_output: int = field(init=False, compare=False)
    highest_image: int = field(init=False, compare=False)
    highest_request: int = field(init=False, compare=False)
    percent: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        is_priced = bool(self.tiers or any(self.per_million.as_dict()))
        highest_input = max(self._highest(bucket) for bucket in INPUT_BUCKETS)
        highest_output = max(self._highest(bucket) for bucket in OUTPUT_BUCKETS)
        percent = 100 if self.cache_percent is None else self.cache_percent
        object.__setattr__(self, "percent", percent)
        object.__setattr__(self, "is_free", not (percent and is_priced))
        object.__setattr__(self, "highest_input", highest_input)
        object.__setattr__(self, "highest_output", highest_output)
        object.__setattr__(self, "highest_image", self._highest("image"))
        object.__setattr__(self, "highest_request", self._highest("request"))

    def charge(self, usage: Usage) -> Nanos:
        """Return what ``usage`` costs, rounded half to even to whole nanos."""
        total = sum(map(mul, usage, self.per_million))
        for bucket in self.tiers:
            total += self._above_tiers(bucket, getattr(usage, bucket))
        return Nanos(round_half_even(total * self.percent, UNITS_PER_PRICE * 100))

    def from_cache(self, percent: int) -> "Price":
        """Return what an answer out of the cache costs: ``percent`` of everything."""
        assert 0 <= percent <= 100, "a share of a price"  # noqa: PLR2004 # per cent
        return replace(self, cache_percent=percent)

    def ceiling(self, *, input_tokens: int, output_tokens: int, images: int = 0) -> Nanos:
        """Return the most a call with these bounds can cost: no usage within them costs more.

        Rounded up, and at least one nano, since a hold holds something; nothing for a free model.
        """
        if self.is_free:
            return Nanos(0)
        total = (
            input_tokens * self.highest_input
            + output_tokens * self.highest_output
            + images * self.highest_image
            + self.highest_request
        )
        return Nanos(max(1, self._most(total)))

    def output_ceiling(self, tokens: int) -> Nanos:
        """Return the most that so many completion tokens can cost, rounded up."""
        return Nanos(self._most(tokens * self.highest_output))

    def _most(self, total: int) -> int:
        return -(-total * self.percent // (UNITS_PER_PRICE * 100))

    def _above_tiers(self, bucket: str, quantity: int) -> int:
        """Return what tiers add to (or take from) the first price, in nanos per million units."""
        total, before = 0, getattr(self.per_million, bucket)
        for tier in self.tiers[bucket]:
            total += max(0, quantity - tier.above) * (tier.nanos - before)
            before = tier.nanos
        return total

    def _highest(self, bucket: str) -> int:
        first: int = getattr(self.per_million, bucket)
        return max(first, *(tier.nanos for tier in self.tiers.get(bucket, ())), 0)


def parse_tiers(stored: Mapping[str, Sequence[Sequence[int]]] | None) -> Tiers:
    """Return tiers as a price version stores them."""
    return {
        bucket: tuple(Tier(above, nanos) for above, nanos in steps)
        for bucket, steps in (stored or {}).items()
    }

"""What usage costs. Pure.

A charge is the sum over buckets of quantity × price, in integers, divided by the 1,000,000 units a
price is for, and rounded half to even: once a request, never per bucket.
"""

from dataclasses import dataclass

from billing.usage import BUCKETS, Usage
from kernel.money import UNITS_PER_PRICE, Nanos, round_half_even


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a model's price: nanos per 1,000,000 units by bucket."""

    version_id: int
    per_million: Usage

    def charge(self, usage: Usage) -> Nanos:
        """Return what ``usage`` costs, rounded half to even to whole nanos."""
        total = sum(
            getattr(usage, bucket) * getattr(self.per_million, bucket) for bucket in BUCKETS
        )
        return Nanos(round_half_even(total, UNITS_PER_PRICE))

    @property
    def highest_input(self) -> int:
        """The dearest bucket a prompt token can land in."""
        price = self.per_million
        return max(
            price.input, price.cached_input, price.cache_write, price.audio_input, price.embedding
        )

    @property
    def highest_output(self) -> int:
        """The dearest bucket a completion token can land in."""
        price = self.per_million
        return max(price.output, price.reasoning, price.audio_output)

    def ceiling(self, *, input_tokens: int, output_tokens: int) -> Nanos:
        """Return the most a call with these bounds can cost: no usage within them costs more.

        Rounded up, and at least one nano, since a hold holds something.
        """
        total = (
            input_tokens * self.highest_input
            + output_tokens * self.highest_output
            + self.per_million.request
        )
        return Nanos(max(1, -(-total // UNITS_PER_PRICE)))

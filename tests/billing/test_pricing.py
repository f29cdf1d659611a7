"""Pricing: a charge is the exact rational, rounded once; a ceiling is never passed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.models import PriceVersion
from billing.prices import current_price, publish_price, text_price
from billing.pricing import Price
from billing.usage import BUCKETS, Usage
from kernel.errors import BadRequestError, InvalidAmountError
from kernel.money import MAX_NANOS, parse_usd

COUNTING_THEMSELVES = {"image", "request"}
quantities = st.integers(0, 10**9)
prices = st.integers(0, 10**13)


def in_buckets(values: st.SearchStrategy[int]) -> st.SearchStrategy[Usage]:
    return st.builds(Usage, **dict.fromkeys(BUCKETS, values))


@st.composite
def text_calls(draw: st.DrawFn) -> tuple[Usage, int, int]:
    """A text call's usage, and bounds of input and output that it stays within."""
    usage = Usage(
        input=draw(quantities),
        cached_input=draw(quantities),
        cache_write=draw(quantities),
        output=draw(quantities),
        reasoning=draw(quantities),
        request=1,
    )
    spare = draw(st.integers(0, 1000))
    return usage, usage.prompt_tokens + spare, usage.completion_tokens + spare


@given(in_buckets(quantities), in_buckets(prices))
def test_a_charge_is_the_exact_sum_rounded_half_to_even_once(
    usage: Usage, per_million: Usage
) -> None:
    exact = sum(
        Fraction(getattr(usage, bucket) * getattr(per_million, bucket), 10**6) for bucket in BUCKETS
    )

    charge = Price(1, per_million).charge(usage)

    assert charge == round(exact)
    assert type(charge) is int


def test_a_charge_is_rounded_once_and_not_per_bucket() -> None:
    price = Price(1, Usage(input=500_000, output=500_000, reasoning=500_000))

    assert price.charge(Usage(input=1, output=1, reasoning=1)) == 2  # 1.5; per bucket 0 + 0 + 0
    assert price.charge(Usage(input=1)) == 0  # 0.5 goes to the even neighbour
    assert price.charge(Usage(input=3)) == 2  # 1.5
    assert price.charge(Usage(input=5)) == 2  # 2.5


def test_a_small_price_of_a_token_is_kept_to_the_nano() -> None:
    price = Price(1, text_price(parse_usd("0.0025"), parse_usd("0.01")))

    assert price.charge(Usage(input=1_000, output=1_000)) == 2_500 + 10_000
    assert price.charge(Usage(input=1)) == 2  # 2.5 nanos


@given(in_buckets(quantities), in_buckets(prices), st.sampled_from(BUCKETS), quantities)
def test_more_usage_never_costs_less(
    usage: Usage, per_million: Usage, bucket: str, more: int
) -> None:
    price = Price(1, per_million)
    grown = Usage(**{**usage.as_dict(), bucket: getattr(usage, bucket) + more})

    assert price.charge(grown) >= price.charge(usage)


@given(text_calls(), in_buckets(prices))
def test_no_text_call_within_its_bounds_costs_more_than_its_ceiling(
    call: tuple[Usage, int, int], per_million: Usage
) -> None:
    usage, input_tokens, output_tokens = call
    price = Price(1, per_million)

    assert price.charge(usage) <= price.ceiling(
        input_tokens=input_tokens, output_tokens=output_tokens
    )


def test_a_hold_holds_something_unless_the_model_is_free() -> None:
    assert Price(1, Usage()).ceiling(input_tokens=9, output_tokens=9) == 0
    assert Price(1, Usage(input=1)).ceiling(input_tokens=0, output_tokens=0) == 1
    assert Price(1, Usage(input=1)).ceiling(input_tokens=1, output_tokens=0) == 1


def test_a_ceiling_takes_the_dearest_bucket_and_rounds_up() -> None:
    price = Price(1, Usage(input=10, cached_input=1, cache_write=30, output=5, reasoning=70))

    assert price.ceiling(input_tokens=100_000, output_tokens=10_000) == 3 + 1
    assert price.ceiling(input_tokens=1, output_tokens=0) == 1


@given(in_buckets(st.integers(0, 10**6)))
def test_each_token_is_in_one_bucket_and_in_prompt_or_completion(usage: Usage) -> None:
    tokens = sum(getattr(usage, bucket) for bucket in BUCKETS if bucket not in COUNTING_THEMSELVES)

    assert usage.prompt_tokens + usage.completion_tokens == tokens


@given(in_buckets(st.integers(0, 3)))
def test_usage_is_written_without_its_zeros_and_reads_back(usage: Usage) -> None:
    written = usage.as_dict()

    assert 0 not in written.values()
    assert Usage(**written) == usage


def test_a_text_price_charges_reasoning_as_output_and_cached_as_input_unless_told() -> None:
    assert text_price(10, 20) == Usage(
        input=10, cached_input=10, cache_write=10, output=20, reasoning=20, embedding=10
    )
    assert text_price(10, 20, cached_nanos=1).cached_input == 1


def test_a_new_version_takes_over_and_the_earlier_one_stays_as_it_was(database: str) -> None:
    first = publish_price("m", text_price(1, 2), actor="alice@example.com")
    second = publish_price("m", text_price(3, 4), actor="bob@example.com")

    assert current_price("m") == second
    kept = PriceVersion.objects.get(pk=first.pk)
    assert (kept.as_prices(), kept.created_by) == (text_price(1, 2), "alice@example.com")


@pytest.mark.parametrize("nanos", [-1, MAX_NANOS + 1, True, 1.5, "1", None])
def test_a_price_that_is_no_amount_is_refused(nanos: int) -> None:
    with pytest.raises(InvalidAmountError):
        publish_price("m", Usage(input=nanos), actor="cli")


def test_a_price_of_nothing_at_all_is_refused() -> None:
    with pytest.raises(BadRequestError, match="above zero"):
        publish_price("m", Usage(), actor="cli")

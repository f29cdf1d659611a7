"""Nano-USD: nothing odd comes in, nothing is lost on the way out, rounding is exact."""

import decimal
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvalidAmountError
from kernel.money import (
    MAX_NANOS,
    check_nanos,
    parse_usd,
    render_cents,
    render_usd,
    render_usd_short,
    round_half_even,
    round_half_up,
)

TRAPS: list[Any] = [
    *(
        "",
        " ",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "1e999",
        "1e3",
        "1E-9",
        "0x10",
        "1_000",
    ),
    *(
        " 7",
        "7 ",
        " 7\n",
        "7\n",
        "\t7",
        "１２",
        "٣",
        "1,000",
        "1.",
        ".5",
        "1..2",
        "--1",
        "+1",
        "-",
        "$1",
    ),
    *("1.0000000001", "18446744073709551616", "9223372036.854775808", "9" * 400, "1\u200b", "1 0"),
    *(True, False, 1, 1.5, float("nan"), float("inf"), None, b"1", Decimal(1), ["1"]),
]
numerators = st.integers(-(10**40), 10**40)
denominators = st.integers(1, 10**20)


@pytest.mark.parametrize("trap", TRAPS, ids=repr)
def test_an_amount_that_is_not_plain_ascii_dollars_is_refused(trap: Any) -> None:
    with pytest.raises(InvalidAmountError) as refused:
        parse_usd(trap)

    assert refused.value.http_status == 400
    assert "12.50" in refused.value.message
    assert len(refused.value.message) < 160


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("1.25", 1_250_000_000),
        ("-1.25", -1_250_000_000),
        ("0.000000001", 1),
        ("00012.50", 12_500_000_000),
        ("9223372036.854775807", MAX_NANOS),
        ("-9223372036.854775807", -MAX_NANOS),
    ],
)
def test_plain_dollars_are_read_to_the_nano(text: str, nanos: int) -> None:
    assert parse_usd(text) == nanos
    assert type(parse_usd(text)) is int


@pytest.mark.parametrize(
    "trap",
    [
        True,
        False,
        1.0,
        float("nan"),
        "1",
        None,
        -1,
        MAX_NANOS + 1,
        18446744073709551616,
        Decimal(1),
    ],
    ids=repr,
)
def test_only_integers_in_range_are_nanos(trap: Any) -> None:
    with pytest.raises(InvalidAmountError):
        check_nanos(trap)


def test_the_bounds_of_nanos_are_allowed_and_no_further() -> None:
    assert check_nanos(0) == 0
    assert check_nanos(MAX_NANOS) == MAX_NANOS
    assert check_nanos(1, minimum=1) == 1
    with pytest.raises(InvalidAmountError):
        check_nanos(0, minimum=1)


@given(st.integers(-MAX_NANOS, MAX_NANOS), st.integers(2, 9))
def test_what_is_written_reads_back_as_the_same_amount(nanos: int, places: int) -> None:
    text = render_usd(nanos, places=places)

    assert parse_usd(text) == nanos
    assert Fraction(text) == Fraction(nanos, 10**9)
    assert len(text.partition(".")[2]) >= places


@pytest.mark.parametrize(
    ("nanos", "places", "text"),
    [
        (0, 2, "0.00"),
        (1, 2, "0.000000001"),
        (-1, 9, "-0.000000001"),
        (1_500_000_000, 2, "1.50"),
        (1_234_560_000, 2, "1.23456"),
        (-12_000_000_000, 2, "-12.00"),
    ],
)
def test_an_amount_is_written_with_as_many_decimals_as_it_needs(
    nanos: int, places: int, text: str
) -> None:
    assert render_usd(nanos, places=places) == text


@given(numerators, denominators)
def test_half_even_is_what_exact_rationals_say(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(numerators, denominators)
def test_half_up_is_away_from_zero_at_the_half(numerator: int, denominator: int) -> None:
    exact = abs(Fraction(numerator, denominator))
    expected = int(exact + Fraction(1, 2))

    assert round_half_up(numerator, denominator) == (expected if numerator >= 0 else -expected)


@given(st.integers(-(10**30), 10**30), st.sampled_from([10, 1000, 10**6, 10**7]))
def test_both_roundings_are_those_of_the_decimal_module(number: int, unit: int) -> None:
    with decimal.localcontext(prec=60):
        exact = Decimal(number) / Decimal(unit)
        even = int(exact.to_integral_value(decimal.ROUND_HALF_EVEN))
        up = int(exact.to_integral_value(decimal.ROUND_HALF_UP))

    assert (round_half_even(number, unit), round_half_up(number, unit)) == (even, up)


@pytest.mark.parametrize(
    ("number", "even", "up"),
    [(5, 0, 1), (15, 2, 2), (25, 2, 3), (-5, 0, -1), (-15, -2, -2), (-25, -2, -3), (0, 0, 0)],
)
def test_exact_halves_go_to_the_even_neighbour_or_away_from_zero(
    number: int, even: int, up: int
) -> None:
    assert (round_half_even(number, 10), round_half_up(number, 10)) == (even, up)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00"),
        (1_235_000_000, "1.24"),
        (-1_235_000_000, "-1.24"),
        (100_000_000, "0.10"),
        (99_999_999, "0.100000"),
        (12_345_678, "0.012346"),
        (1, "0.000000"),
        (999_999_999_999, "1000.00"),
    ],
)
def test_people_see_cents_and_more_of_what_is_small(nanos: int, text: str) -> None:
    assert render_usd_short(nanos) == text


@given(st.integers(-(10**15), 10**15))
def test_cents_are_written_with_two_decimals(cents: int) -> None:
    assert Fraction(render_cents(cents)) == Fraction(cents, 100)
    assert len(render_cents(cents).partition(".")[2]) == 2

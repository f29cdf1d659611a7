"""Nano-USD: the one unit of money, its way in from text and out to text.

Amounts are ``int`` nanos (10⁻⁹ of a dollar) within the range of PostgreSQL's bigint. Prices are
nanos per 1,000,000 units. Rounding happens once a charge (half to even) and once an invoice line
(half up, to the cent); everything else is an exact sum.
"""

import re
from typing import NewType

from kernel.errors import InvalidAmountError

Nanos = NewType("Nanos", int)

NANOS_PER_DOLLAR = 1_000_000_000
NANOS_PER_CENT = 10_000_000
MAX_NANOS = 9_223_372_036_854_775_807
UNITS_PER_PRICE = 1_000_000

_DECIMAL = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)


def parse_usd(text: str, *, minimum: int = -MAX_NANOS) -> Nanos:
    """Read a decimal dollar amount such as ``"1.25"``, of ``minimum`` nanos or more.

    Raises:
        InvalidAmountError: for anything but ASCII digits with at most nine decimals: no signs but
            ``-``, no exponent, no underscores, no blanks, no other scripts' digits.

    """
    match = _DECIMAL.fullmatch(text) if type(text) is str else None
    if match is None:
        raise InvalidAmountError(text)
    sign, whole, fraction = match.groups()
    nanos = int(whole) * NANOS_PER_DOLLAR + int((fraction or "").ljust(9, "0"))
    nanos = -nanos if sign else nanos
    if not minimum <= nanos <= MAX_NANOS:
        raise InvalidAmountError(text)
    return Nanos(nanos)


def check_nanos(value: object, *, minimum: int = 0) -> Nanos:
    """Return ``value`` when it is an integer amount in range; booleans and floats are refused.

    Raises:
        InvalidAmountError: for any other type or a value outside ``minimum``…bigint.

    """
    if type(value) is not int or not minimum <= value <= MAX_NANOS:
        raise InvalidAmountError(value)
    return Nanos(value)


def render_usd(nanos: int, *, places: int = 9) -> str:
    """Write nanos as a decimal string with ``places`` (2–9) decimals; never loses a digit.

    More decimals than ``places`` are written where they are not zero, so that the text is exact.
    """
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_DOLLAR)
    digits = f"{rest:09d}"
    kept = digits[:places] + digits[places:].rstrip("0")
    return f"{sign}{whole}.{kept}"


def render_usd_per_unit(price_nanos: int) -> str:
    """Write a price per 1,000,000 units as dollars for one unit: every digit, no needless zeros."""
    whole, rest = divmod(price_nanos, NANOS_PER_DOLLAR * UNITS_PER_PRICE)
    return f"{whole}.{rest:015d}".rstrip("0").rstrip(".")


def render_usd_short(nanos: int) -> str:
    """Write nanos for people: two decimals, up to six where an amount is below ten cents."""
    small = 0 < abs(nanos) < 10 * NANOS_PER_CENT
    return render_cents(round_half_up(nanos, NANOS_PER_CENT)) if not small else _six(nanos)


def _six(nanos: int) -> str:
    return render_usd(round_half_even(nanos, 1000) * 1000, places=6)


def render_cents(cents: int) -> str:
    """Write whole cents as dollars with two decimals."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


def round_half_even(numerator: int, denominator: int) -> int:
    """Return numerator over denominator (> 0), halves to the even neighbour, in integers only."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient


def round_half_up(numerator: int, denominator: int) -> int:
    """Return numerator over denominator (> 0), halves away from zero, in integers only."""
    quotient, rest = divmod(abs(numerator), denominator)
    rounded = quotient + (1 if 2 * rest >= denominator else 0)
    return -rounded if numerator < 0 else rounded

"""Numbers within a schema's bounds, in exact fractions until the last step."""

import math
from fractions import Fraction
from typing import Any

from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.json_schemas import NoValueError, Schema

_SPAN = 99
_MOST_SIDES = 100
_BEYOND_64_BITS = 2**63


def make_number(schema: Schema, dice: Dice, *, is_whole: bool) -> Fraction:
    """Return a multiple of the step within the bounds, near the lower one.

    Raises:
        NoValueError: there is none, or it is beyond 64 bits.

    """
    low, high = _bounds(schema)
    step = _step(schema, is_whole=is_whole)
    first = math.ceil(low / step)
    last = math.floor(high / step)
    if "exclusiveMinimum" in schema and first * step == _exact(schema["exclusiveMinimum"]):
        first += 1
    if "exclusiveMaximum" in schema and last * step == _exact(schema["exclusiveMaximum"]):
        last -= 1
    if first <= last:
        value = step * (first + dice.roll(min(last - first + 1, _MOST_SIDES)))
    elif is_whole or "multipleOf" in schema or low > high:
        raise NoValueError("no number is within its bounds")
    else:
        value = (low + high) / 2
    if abs(value) >= _BEYOND_64_BITS:
        raise NoValueError("its numbers are too large")
    return value


def _exact(number: Any) -> Fraction:
    return Fraction(str(number))


def _step(schema: Schema, *, is_whole: bool) -> Fraction:
    if "multipleOf" not in schema:
        return Fraction(1) if is_whole else Fraction(1, 2)
    step = abs(_exact(schema["multipleOf"]))
    if step == 0:
        raise NoValueError("nothing is a multiple of 0")
    return Fraction(step.numerator) if is_whole else step


def _bounds(schema: Schema) -> tuple[Fraction, Fraction]:
    """Return the lowest and the highest number; an open side ends 99 further on."""
    lows: list[Fraction] = [
        _exact(schema[key]) for key in ("minimum", "exclusiveMinimum") if key in schema
    ]
    highs: list[Fraction] = [
        _exact(schema[key]) for key in ("maximum", "exclusiveMaximum") if key in schema
    ]
    step: Fraction = abs(_exact(schema.get("multipleOf", 1)))
    span = max(Fraction(_SPAN), 2 * step)
    if lows:
        return max(lows), min(highs, default=max(lows) + span)
    if highs:
        high = min(highs)
        return (Fraction(1) if high >= max(Fraction(1), step) else high - span), high
    return Fraction(1), 1 + span

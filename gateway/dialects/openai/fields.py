"""Checks of single values, made once and used by name: ``check(param, value)`` raises or returns.

``param`` is the path the caller will read, such as ``messages[1].role``. JSON's booleans are no
numbers, and an integer must be written as one: ``1.0`` is a decimal.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.dialects import schemas
from gateway.dialects.schemas import takes
from kernel.errors import BadRequestError

Check = Callable[[str, Any], None]
_MOST_SHOWN = 60
_BEYOND_64_BITS = 2.0**63


def refusal(param: str | None, message: str, code: str = "invalid_value") -> BadRequestError:
    """Return the 400 that names the field and one of the contract's codes."""
    return BadRequestError(message, code=code, param=param)


def wrong_type(param: str, expected: str, value: object) -> BadRequestError:
    return refusal(
        param,
        f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead.",
        "invalid_type",
    )


def missing(param: str) -> BadRequestError:
    return refusal(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def unsupported(param: str, what: str) -> BadRequestError:
    return refusal(param, f"{what} is not supported by this server.", "unsupported_value")


def shown(value: object) -> str:
    """Return a value as it may stand in a message: short."""
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _below(param: str, kind: str, low: object, value: object) -> BadRequestError:
    return refusal(
        param,
        f"Invalid '{param}': {kind} below minimum value. "
        f"Expected a value >= {low}, but got {shown(value)} instead.",
        f"{kind}_below_min_value",
    )


def _above(param: str, kind: str, high: object, value: object) -> BadRequestError:
    return refusal(
        param,
        f"Invalid '{param}': {kind} above maximum value. "
        f"Expected a value <= {high}, but got {shown(value)} instead.",
        f"{kind}_above_max_value",
    )


def decimal(low: float, high: float) -> Check:
    """Check a number, whole or not, between ``low`` and ``high`` inclusive."""

    @takes({"type": "number", "minimum": low, "maximum": high})
    def check(param: str, value: Any) -> None:
        if type(value) is not float and type(value) is not int:
            raise wrong_type(param, "a decimal", value)
        if value < low:
            raise _below(param, "decimal", low, value)
        if value > high:
            raise _above(param, "decimal", high, value)

    return check


def integer(low: int, high: int) -> Check:
    """Check a number without a fraction between ``low`` and ``high`` inclusive.

    What is too big for 64 bits arrives as a float: it is out of range, not of another type.
    """

    @takes({"type": "integer", "minimum": low, "maximum": high})
    def check(param: str, value: Any) -> None:
        is_huge = type(value) is float and abs(value) >= _BEYOND_64_BITS
        if type(value) is not int and not is_huge:
            raise wrong_type(param, "an integer", value)
        if value < low or (is_huge and value < 0):
            raise _below(param, "integer", low, value)
        if value > high:
            raise _above(param, "integer", high, value)

    return check


@takes(schemas.BOOLEAN)
def boolean(param: str, value: Any) -> None:
    if type(value) is not bool:
        raise wrong_type(param, "a boolean", value)


@takes(schemas.STRING)
def string(param: str, value: Any) -> None:
    if type(value) is not str:
        raise wrong_type(param, "a string", value)


@takes(schemas.OBJECT)
def mapping(param: str, value: Any) -> None:
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)


@takes(schemas.ARRAY)
def array(param: str, value: Any) -> None:
    if type(value) is not list:
        raise wrong_type(param, "an array", value)


@takes({})
def any_value(param: str, value: Any) -> None:
    """Let a field pass whose only rule is that it may be there."""


def at_most(param: str, values: list[Any], most: int) -> None:
    if len(values) > most:
        raise refusal(
            param,
            f"Invalid '{param}': array too long. "
            f"Expected at most {most} elements, but got {len(values)} instead.",
            "array_above_max_length",
        )


def one_of(*words: str) -> Check:
    """Check for one of a few words."""
    supported = ", ".join(f"'{word}'" for word in words)

    @takes(schemas.word(*words))
    def check(param: str, value: Any) -> None:
        string(param, value)
        if value not in words:
            raise refusal(
                param, f"Invalid value: '{shown(value)}'. Supported values are: {supported}."
            )

    return check


def limited_string(most: int) -> Check:
    """Check for a string of at most ``most`` characters."""

    @takes({"type": "string", "maxLength": most})
    def check(param: str, value: Any) -> None:
        string(param, value)
        if len(value) > most:
            raise refusal(
                param,
                f"Invalid '{param}': string too long. "
                f"Expected at most {most} characters, but got {len(value)} instead.",
                "string_above_max_length",
            )

    return check


def required(holder: Mapping[str, Any], name: str, path: str, check: Check) -> Any:
    """Return a field that has to be there; ``null`` is as good as absent.

    Raises:
        BadRequestError: absent, or refused by ``check``.

    """
    param = f"{path}.{name}"
    value = holder.get(name)
    if value is None:
        raise missing(param)
    check(param, value)
    return value


def optional(holder: Mapping[str, Any], name: str, path: str, check: Check) -> Any:
    """Return a checked field, or None where it is absent or ``null``."""
    value = holder.get(name)
    if value is not None:
        check(f"{path}.{name}", value)
    return value


def is_cache_mark(value: object) -> bool:
    """Tell whether ``cache_control`` marks the end of a prompt that will come again."""
    return isinstance(value, dict) and value.get("type") == "ephemeral"

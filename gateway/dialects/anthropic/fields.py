"""Checks of single values, made once and used by name: ``check(path, value)`` raises or returns.

A path is the one the caller will read before the reason: ``messages.1.content.0.text``. JSON's
booleans are no numbers, and an integer must be written as one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.dialects import schemas
from gateway.dialects.schemas import takes
from kernel.errors import BadRequestError

Check = Callable[[str, Any], None]
_MOST_SHOWN = 60


def refusal(path: str, reason: str) -> BadRequestError:
    """Return the 400 whose message will be ``path: reason``."""
    return BadRequestError(reason, param=path)


def missing(path: str) -> BadRequestError:
    return refusal(path, "Field required")


def shown(value: object) -> str:
    """Return a value as it may stand in a message: short."""
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def decimal(low: float, high: float) -> Check:
    """Check a number, whole or not, between ``low`` and ``high`` inclusive."""

    @takes({"type": "number", "minimum": low, "maximum": high})
    def check(path: str, value: Any) -> None:
        if type(value) is not float and type(value) is not int:
            raise refusal(path, "Input should be a valid number")
        if not low <= value <= high:
            raise refusal(path, f"Input should be between {low} and {high}")

    return check


def integer(low: int) -> Check:
    """Check a number without a fraction that is at least ``low`` and fits 64 bits."""

    @takes({"type": "integer", "minimum": low, "maximum": 2**63 - 1})
    def check(path: str, value: Any) -> None:
        if type(value) is not int or value >= 2**63:
            raise refusal(path, "Input should be a valid integer")
        if value < low:
            raise refusal(path, f"Input should be greater than or equal to {low}")

    return check


@takes(schemas.BOOLEAN)
def boolean(path: str, value: Any) -> None:
    if type(value) is not bool:
        raise refusal(path, "Input should be a valid boolean")


@takes(schemas.STRING)
def string(path: str, value: Any) -> None:
    if type(value) is not str:
        raise refusal(path, "Input should be a valid string")


@takes(schemas.OBJECT)
def mapping(path: str, value: Any) -> None:
    if type(value) is not dict:
        raise refusal(path, "Input should be an object")


@takes(schemas.ARRAY)
def array(path: str, value: Any) -> None:
    if type(value) is not list:
        raise refusal(path, "Input should be a valid array")


@takes({})
def any_value(path: str, value: Any) -> None:
    """Let a field pass whose only rule is that it may be there."""


def one_of(*words: str) -> Check:
    """Check for one of a few words."""
    expected = ", ".join(f"'{word}'" for word in words)

    @takes(schemas.word(*words))
    def check(path: str, value: Any) -> None:
        if type(value) is not str or value not in words:
            raise refusal(path, f"Input should be one of {expected}, not '{shown(value)}'")

    return check


def limited_string(most: int) -> Check:
    """Check for a string of at most ``most`` characters."""

    @takes({"type": "string", "maxLength": most})
    def check(path: str, value: Any) -> None:
        string(path, value)
        if len(value) > most:
            raise refusal(path, f"String should have at most {most} characters")

    return check


def required(holder: Mapping[str, Any], name: str, path: str, check: Check) -> Any:
    """Return a field that has to be there.

    Raises:
        BadRequestError: absent, or refused by ``check``.

    """
    where = f"{path}.{name}" if path else name
    if name not in holder:
        raise missing(where)
    value = holder[name]
    check(where, value)
    return value


def optional(holder: Mapping[str, Any], name: str, path: str, check: Check) -> Any:
    """Return a checked field, or None where it is absent or ``null``."""
    value = holder.get(name)
    if value is not None:
        check(f"{path}.{name}" if path else name, value)
    return value

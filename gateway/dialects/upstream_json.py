"""What upstreams write as JSON, read and written again. Pure.

Servers in Python write NaN and Infinity where a figure is none, servers in JavaScript half of a
character that they have cut in two. Neither is worth an answer: what is no number is read as such,
and written as null; a half is written as it came.
"""

import json
from typing import Any

import orjson

from kernel.errors import UpstreamError


def read_object(text: bytes) -> dict[str, Any]:
    """Return the object a JSON text is.

    Raises:
        UpstreamError: for anything else.

    """
    return read_exactly(text)[0]


def read_exactly(text: bytes) -> tuple[dict[str, Any], bool]:
    """Return the object a JSON text is, and whether that is strict and stands on one line.

    Raises:
        UpstreamError: for anything else.

    """
    is_strict = True
    try:
        found = orjson.loads(text)
    except ValueError:
        found, is_strict = _read_leniently(text), False
    if type(found) is not dict:
        raise UpstreamError("The model's provider sent an answer that is no object.")
    return found, is_strict and b"\n" not in text


def _read_leniently(text: bytes) -> object:
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise UpstreamError("The model's provider sent an answer that is no JSON.") from error


def write_object(value: object) -> bytes:
    """Write on one line what was read: an object, or a part of one.

    Raises:
        UpstreamError: for what is nested too deeply to be written again.

    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return _write_leniently(value)


def _write_leniently(value: object) -> bytes:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise UpstreamError("The model's provider sent an answer that is no JSON.") from error

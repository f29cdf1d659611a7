"""The bytes of a whole answer that passes through: our fields in the place of theirs. Pure.

Everything else stays as it came, down to blanks and to how a number is spelled. What cannot be
patched in its place is written anew: an answer without a field that we name, with one twice, or of
a size at which looking for places would hold up other calls.
"""

from collections.abc import Mapping
from json import JSONDecoder
from typing import Any, NamedTuple

from gateway.dialects.upstream_json import write_object

MOST_BYTES = 256 * 1024
_USAGE = "usage"
_BLANKS = " \t\n\r"
Place = tuple[int, int]


class CutAnswer(NamedTuple):
    """An answer's bytes before and behind its figures."""

    before: bytes
    behind: bytes

    def render(self, usage: bytes) -> bytes:
        return b"%b%b%b" % (self.before, usage, self.behind)


def cut_answer(body: bytes, parsed: Mapping[str, Any], ours: Mapping[str, Any]) -> CutAnswer:
    """Return an answer under ``ours``, cut where its figures stand; ``parsed`` is what it says.

    Raises:
        UpstreamError: for what is nested too deeply to be written again.

    """
    if len(body) <= MOST_BYTES:
        text = body.decode()
        places = _find_places(text)
        if places is not None and places.keys() >= ours.keys():
            return _patch(text, places, ours)
    kept = {name: value for name, value in parsed.items() if name != _USAGE}
    return CutAnswer(write_object({**kept, **ours})[:-1] + b',"usage":', b"}")


def _patch(text: str, places: Mapping[str, Place], ours: Mapping[str, Any]) -> CutAnswer:
    end = text.rindex("}")
    new = {places[name]: write_object(value).decode() for name, value in ours.items()}
    figures = places.get(_USAGE, (end, end))
    before: list[str] = []
    behind: list[str] = []
    at = 0
    for start, stop in sorted([*new, figures]):
        parts = before if start <= figures[0] else behind
        parts.append(text[at:start])
        parts.append(new.get((start, stop), ""))
        at = stop
    if _USAGE not in places:
        before.append(',"usage":')
    behind.append(text[at:])
    return CutAnswer("".join(before).encode(), "".join(behind).encode())


def _find_places(text: str) -> dict[str, Place] | None:
    """Return where the values of an object's members stand; None where that cannot be told."""
    places: dict[str, Place] = {}
    try:
        at = _skip(text, 0) + 1  # an object's brace: it has been read before
        while text[at := _skip(text, at)] != "}":
            name, at = _decoder.raw_decode(text, at)
            start = _skip(text, _skip(text, at) + 1)
            _, stop = _decoder.raw_decode(text, start)
            if name in places:
                return None
            places[name] = start, stop
            at = _skip(text, stop)
            at += text[at] == ","
    except (ValueError, IndexError, RecursionError):
        return None
    return places


def _skip(text: str, at: int) -> int:
    while text[at] in _BLANKS:
        at += 1
    return at


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON: they are written anew, as null."""
    raise ValueError(constant)


_decoder = JSONDecoder(parse_constant=_refuse)

"""The bytes of a whole answer that passes through: our fields in the place of theirs. Pure.

Everything else stays as it came, down to blanks and to how a number is spelled. What cannot be
patched in its place is written anew: an answer without a field that we name, with one twice or
spelled with escapes, or of a size at which looking for places would hold up other calls.
"""

import re
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any, NamedTuple

from gateway.dialects.upstream_json import write_object

MOST_BYTES = 256 * 1024
_USAGE = "usage"
Place = tuple[int, int]
# A member of an object, and its value where that is a plain text, a number or a word. The text has
# been read before, so what stands here is JSON.
_BLANKS = r"[ \t\n\r]*"
_MEMBER = re.compile(
    rf'{_BLANKS}"([^"\\]*)"{_BLANKS}:{_BLANKS}("[^"\\]*"|-?[0-9][^,}} \t\n\r]*|true|false|null)?'
)
_NEXT = re.compile(rf"{_BLANKS}([,}}])")


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
    """Put ours in their places, which come in the order of the text."""
    pieces: list[str] = []
    before, at = None, 0
    for name, (start, stop) in places.items():
        if name in ours:
            pieces += (text[at:start], write_object(ours[name]).decode())
            at = stop
        elif name == _USAGE:
            pieces.append(text[at:start])
            before, pieces, at = "".join(pieces), [], stop
    if before is None:
        end = text.rindex("}")
        pieces += (text[at:end], ',"usage":')
        before, pieces, at = "".join(pieces), [], end
    pieces.append(text[at:])
    return CutAnswer(before.encode(), "".join(pieces).encode())


def _find_places(text: str) -> dict[str, Place] | None:
    """Return where the values of an object's members stand; None where that cannot be told."""
    places: dict[str, Place] = {}
    at = text.index("{") + 1
    try:
        while (member := _MEMBER.match(text, at)) is not None:
            name, plain = member.groups()
            start, stop = member.span(2)
            if plain is None:
                start = member.end()
                _, stop = _decoder.raw_decode(text, start)
            if name in places:
                return None
            places[name] = start, stop
            following = _NEXT.match(text, stop)
            if following is None:
                return None
            at = following.end()
            if following[1] == "}":
                return places
    except (ValueError, RecursionError):
        return None
    return None


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON: they are written anew, as null."""
    raise ValueError(constant)


_decoder = JSONDecoder(parse_constant=_refuse)

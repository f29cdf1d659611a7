"""The bytes of a whole answer that passes through: our fields in the place of theirs. Pure.

Everything else stays as it came, down to blanks and to how a number is spelled. So an answer is
read once, member by member, and where each value stands is kept. What it has no place for comes
last. An answer that cannot be patched is written anew: with a field twice or spelled with escapes,
or of a size at which looking for places would hold up other calls.
"""

import re
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any, NamedTuple

from gateway.dialects.upstream_json import read_object, write_object

MOST_BYTES = 256 * 1024
_USAGE = "usage"
Place = tuple[int, int]
_BLANKS = r"[ \t\n\r]*"
_NAME = rf'{_BLANKS}"([^"\\\x00-\x1f]*)"{_BLANKS}:{_BLANKS}'
_first_name = re.compile(rf"{_BLANKS}{{{_NAME}").match
_next_name = re.compile(rf"{_BLANKS},{_NAME}").match
_end = re.compile(rf"{_BLANKS}}}{_BLANKS}").fullmatch


class CutAnswer(NamedTuple):
    """An answer's bytes before and behind its figures."""

    before: bytes
    behind: bytes

    def render(self, usage: bytes) -> bytes:
        return b"%b%b%b" % (self.before, usage, self.behind)


class ReadAnswer(NamedTuple):
    """What an answer says, and where in its text; without places, it must be written anew."""

    members: Mapping[str, Any]
    text: str
    places: Mapping[str, Place]

    def cut(self, ours: Mapping[str, Any]) -> CutAnswer:
        """Return the answer under ``ours``, cut where its figures stand.

        Raises:
            UpstreamError: for what is nested too deeply to be written again.

        """
        if self.places:
            return self._patch(ours)
        kept = {name: value for name, value in self.members.items() if name != _USAGE}
        return CutAnswer(write_object({**kept, **ours})[:-1] + b',"usage":', b"}")

    def _patch(self, ours: Mapping[str, Any]) -> CutAnswer:
        """Put ours in their places, which come in the order of the text, and what has none last."""
        text, pieces, at = self.text, "", 0
        before = None
        for name, (start, stop) in self.places.items():
            if name in ours:
                pieces += text[at:start] + write_object(ours[name]).decode()
                at = stop
            elif name == _USAGE:
                before, pieces, at = pieces + text[at:start], "", stop
        end = text.rindex("}")
        pieces += text[at:end]
        for name in (name for name in ours if name not in self.places):
            pieces += f',"{name}":{write_object(ours[name]).decode()}'
        if before is None:
            before, pieces = f'{pieces},"usage":', ""
        return CutAnswer(before.encode(), (pieces + text[end:]).encode())


def read_answer(body: bytes) -> ReadAnswer:
    """Read the object that a whole answer is.

    Raises:
        UpstreamError: for anything else.

    """
    found = _read_members(body) if len(body) <= MOST_BYTES else None
    return ReadAnswer(read_object(body), "", {}) if found is None else found


def _read_members(body: bytes) -> ReadAnswer | None:
    """Read an object with the places of its values; None where those cannot be told."""
    members: dict[str, Any] = {}
    places: dict[str, Place] = {}
    stop = 0
    try:
        text = body.decode()
        name_found = _first_name(text)
        while name_found is not None:
            name, start = name_found[1], name_found.end()
            if name in members:
                return None
            members[name], stop = _read_value(text, start)
            places[name] = start, stop
            name_found = _next_name(text, stop)
    except (ValueError, RecursionError):
        return None
    return ReadAnswer(members, text, places) if _end(text, stop) else None


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON: they are written anew, as null."""
    raise ValueError(constant)


_read_value = JSONDecoder(parse_constant=_refuse).raw_decode

"""Chunks that differ from one before in their text alone: nearly all of a stream.

A chunk is read and checked whole once. Another of the same bytes around its text says the same but
for that text, so its text is all there is to look at.
"""

import re

import orjson

_MARKS = (b'"content":"', b'"content": "')
# A text that JSON writes as it is: nothing escaped in it, so its next quote is its end.
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_PROBE = b"a text that is in no frame"
# Where something else differs too, there is no use in learning again and again.
MOST_LESSONS = 16


class Twins:
    """One stream's knowledge. Payloads of frames go in, whole frames out."""

    __slots__ = ("_begin", "_end", "_lessons", "_our_begin", "_our_end")

    def __init__(self) -> None:
        self._lessons = 0
        self._begin = self._end = self._our_begin = self._our_end = b""

    def learn(self, theirs: bytes, ours: bytes, text: str) -> None:
        """Remember a payload that says only ``text``, of one choice, and its frame."""
        if self._lessons == MOST_LESSONS:
            return
        self._lessons += 1
        raw = text.encode()
        their_parts, our_parts = _part(theirs, raw), _part(ours, raw)
        if their_parts is not None and our_parts is not None:
            self._begin, self._end = their_parts
            self._our_begin, self._our_end = our_parts

    def render(self, payload: bytes) -> tuple[bytes, str] | None:
        """Return the frame that a payload goes out as, and its text; None for one to be read."""
        begin, end = self._begin, self._end
        if not (begin and payload.startswith(begin) and payload.endswith(end)):
            return None
        raw = payload[len(begin) : len(payload) - len(end)]
        # begin and end may not share a byte: the payload would be shorter than both
        if len(payload) < len(begin) + len(end) or _PLAIN.fullmatch(raw) is None:
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        return b"%b%b%b" % (self._our_begin, raw, self._our_end), text


def _part(said: bytes, raw: bytes) -> tuple[bytes, bytes] | None:
    """Return what stands around the text, where that is plain and said in one place."""
    if _PLAIN.fullmatch(raw) is None:
        return None
    for mark in _MARKS:
        begin, found, rest = said.partition(mark)
        if found and mark not in rest and rest.startswith(raw + b'"'):
            parts = begin + found, rest[len(raw) :]
            return parts if _is_the_text(*parts) else None
    return None


def _is_the_text(begin: bytes, end: bytes) -> bool:
    """Tell whether what stands between is the text, and not what only looks like it."""
    chunk = orjson.loads((begin + _PROBE + end).removeprefix(b"data: "))
    said: bool = chunk["choices"][0]["delta"].get("content") == _PROBE.decode()
    return said

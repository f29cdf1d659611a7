"""The bytes of a chunk that passes through: its head under our name, the rest as it came.

What stands before ``choices`` is the same in all chunks of a stream, mostly; so it is read and
written once, and every chunk that begins with it is given ours instead.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import orjson

OURS = ("id", "object", "created", "model")
_NULL_USAGE = (b',"usage":null', b', "usage": null')
_CHOICES = b'"choices":'
_ours_of = itemgetter(*OURS)


class ChunkHeads:
    """One stream's heads. ``ours`` are the fields that every chunk goes out under."""

    __slots__ = ("_begin", "_ours", "_theirs", "_written")

    def __init__(self, ours: Mapping[str, Any]) -> None:
        self._ours = ours
        self._begin = _CHOICES
        self._theirs: tuple[Any, ...] = ()
        self._written = b""

    def patch(self, payload: bytes, chunk: Mapping[str, Any], *, with_usage: bool) -> bytes | None:
        """Return a chunk's bytes with ours in place of its own fields; ``chunk`` is what they say.

        With usage, one of null is put in where there is none; without, it is left out. None for a
        chunk that is built otherwise: it has to be written anew.
        """
        if not (payload.startswith(self._begin) or self._learn(payload)):
            return None
        if _ours_of(chunk) != self._theirs:
            return None  # they are said again behind the choices
        rest = payload[len(self._begin) :]
        if "usage" not in chunk:
            if not with_usage:
                return self._written + rest
            return b'%b%b,"usage":null}' % (self._written, rest[:-1])
        if chunk["usage"] is not None:
            return None
        return self._written + rest if with_usage else self._leave_out_usage(rest)

    def _learn(self, payload: bytes) -> bool:
        head, found, _ = payload.partition(_CHOICES)
        try:
            fields = orjson.loads(head.rstrip().removesuffix(b",") + b"}")
        except ValueError:
            return False
        if not found or "usage" in fields or not all(name in fields for name in OURS):
            return False
        self._begin = head + found
        self._theirs = _ours_of(fields)
        self._written = orjson.dumps({**fields, **self._ours})[:-1] + b"," + found
        return True

    def _leave_out_usage(self, rest: bytes) -> bytes | None:
        for null in _NULL_USAGE:
            if rest.count(null) == 1:  # in a text its quotes would be escaped
                return self._written + rest.replace(null, b"")
        return None

"""Frames of an upstream's stream, read.

Every frame is read, because one that is no JSON must not reach a caller; that costs some two
microseconds each.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.dialects import sse
from gateway.dialects.upstream_json import read_object, write_object
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UnavailableError, UpstreamError

_SPOKEN = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
}
_OVERLOADED = ("overloaded_error", "rate_limit_error")


_KNOWN = frozenset(
    [
        *("message_start", "message_delta", "message_stop", "ping", "error"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    ]
)
_OF_TOMORROW = re.compile(r"[a-z][a-z0-9_.]{0,99}")


@dataclass(slots=True)  # not frozen: there is one for every chunk of every stream
class Frame:
    """An event, its ``type``, and its JSON on one line, as it came where that is fit to go out."""

    kind: str
    event: dict[str, Any]
    payload: bytes

    @property
    def data(self) -> bytes:
        """The frame as it goes out: named as its type, no other field, and a closing blank line."""
        return b"event: %b\ndata: %b\n\n" % (self.kind.encode(), self.payload)

    def part(self, name: str) -> dict[str, Any]:
        """Return an object inside the event.

        Raises:
            UpstreamError: where it is missing.

        """
        part = self.event.get(name)
        if not isinstance(part, dict):
            raise UpstreamError("The model's provider sent a frame without its content.")
        return part

    @property
    def index(self) -> int:
        index = self.event.get("index")
        if type(index) is not int or index < 0:
            raise UpstreamError("The model's provider sent a block without its number.")
        return index

    def count_spoken(self) -> int:
        """Return our own count of the tokens in it."""
        if self.kind == "content_block_start":
            name = self.part("content_block").get("name")
            return count_tokens(name) if isinstance(name, str) else 0
        if self.kind != "content_block_delta":
            return 0
        delta = self.part("delta")
        text = delta.get(_SPOKEN.get(str(delta.get("type")), ""))
        return count_tokens(text) if isinstance(text, str) else 0

    def fault(self) -> TollgateError:
        """Return what an ``error`` frame means in the platform's words."""
        error = self.event.get("error")
        if isinstance(error, dict) and error.get("type") in _OVERLOADED:
            return UnavailableError(
                "The model is overloaded at the moment; try again shortly.",
                headers={"retry-after": "2"},
            )
        return UpstreamError("The model's provider broke off its answer.")


class FrameReader:
    """Reads a stream's frames as they become whole."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames = sse.FrameReader()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what arrived and return the frames that are whole.

        Raises:
            UpstreamError: for an endless frame, or one that is no JSON object.

        """
        return map(_read, self._frames.feed(data))


def _read(frame: sse.SseFrame) -> Frame:
    payload = frame.payload
    try:
        event = orjson.loads(payload)
    except ValueError:
        event = read_object(payload)
        payload = write_object(event)
    if type(event) is not dict:
        raise UpstreamError("The model's provider sent a frame that is no object.")
    if b"\n" in payload:
        payload = write_object(event)
    kind = "error" if frame.name == b"error" else event.get("type")
    if not isinstance(kind, str) or (kind not in _KNOWN and not _OF_TOMORROW.fullmatch(kind)):
        raise UpstreamError("The model's provider sent a frame without its type.")
    return Frame(kind, event, payload)

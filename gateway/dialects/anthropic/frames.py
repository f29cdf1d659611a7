"""Frames of an upstream's stream: cut out of the bytes as they come, and read. One stream each.

Every frame is read, because one that is no JSON must not reach a caller; that costs about a
microsecond.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.tokenizer import count_tokens
from kernel.errors import UpstreamError

MOST_FRAME_BYTES = 4 * 2**20
_SPOKEN = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came, with its closing blank line, and the event in it."""

    data: bytes
    event: dict[str, Any]

    @property
    def kind(self) -> str:
        kind = self.event.get("type")
        return kind if isinstance(kind, str) else ""

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


class FrameReader:
    """Holds what has come of a frame that is not whole yet."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what arrived and return the frames that are whole; comments are left out.

        Raises:
            UpstreamError: for an endless frame, or one that is no JSON object.

        """
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer:
            buffer = buffer.replace(b"\r\n", b"\n")
        whole, found, self._buffer = buffer.rpartition(b"\n\n")
        if not found:
            if len(buffer) > MOST_FRAME_BYTES:
                raise UpstreamError("The model's provider sent an endless line.")
            return
        for frame in whole.split(b"\n\n"):
            event = _parse_event(frame)
            if event is not None:
                yield Frame(frame.lstrip(b"\n") + b"\n\n", event)


def _parse_event(frame: bytes) -> dict[str, Any] | None:
    lines = [line[5:] for line in frame.split(b"\n") if line.startswith(b"data:")]
    if not lines:
        return None
    try:
        event = orjson.loads(b"\n".join(lines))
    except ValueError as error:
        raise UpstreamError("The model's provider sent a frame that is no JSON.") from error
    if not isinstance(event, dict):
        raise UpstreamError("The model's provider sent a frame that is no object.")
    return event

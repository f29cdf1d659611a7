"""Frames of an upstream's stream, read.

Every frame is read, because one that is no JSON must not reach a caller; that costs some two
microseconds each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.dialects import sse
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UnavailableError, UpstreamError

_SPOKEN = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
}
_OVERLOADED = ("overloaded_error", "rate_limit_error")


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
        for frame in self._frames.feed(data):
            yield Frame(frame.data, frame.parse())

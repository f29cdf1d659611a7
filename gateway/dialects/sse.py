"""Server-sent events of an upstream: frames cut out of the bytes as they come. One stream each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from kernel.errors import UpstreamError

MOST_FRAME_BYTES = 2**19  # joined to what comes next it is there three times: 1.5 MiB a stream


@dataclass(frozen=True, slots=True)
class SseFrame:
    """A frame as it came, with its closing blank line, and what its ``data:`` lines say."""

    data: bytes
    payload: bytes

    def parse(self) -> dict[str, Any]:
        """Return the JSON object it carries.

        Raises:
            UpstreamError: for anything else.

        """
        try:
            event = orjson.loads(self.payload)
        except ValueError as error:
            raise UpstreamError("The model's provider sent a frame that is no JSON.") from error
        if not isinstance(event, dict):
            raise UpstreamError("The model's provider sent a frame that is no object.")
        return event


class FrameReader:
    """Holds what has come of a frame that is not whole yet."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[SseFrame]:
        """Take what arrived and return the frames that are whole; comments are left out.

        Raises:
            UpstreamError: for an endless frame.

        """
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer:
            buffer = buffer.replace(b"\r\n", b"\n")
        whole, found, self._buffer = buffer.rpartition(b"\n\n")
        if not found and len(buffer) > MOST_FRAME_BYTES:
            raise UpstreamError("The model's provider sent an endless line.")
        for frame in whole.split(b"\n\n") if found else ():
            lines = [line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:")]
            if lines:
                yield SseFrame(frame.lstrip(b"\n") + b"\n\n", b"\n".join(lines))

"""Server-sent events of an upstream: frames cut out of the bytes as they come. One stream each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.dialects.upstream_json import read_object
from kernel.errors import UpstreamError

MOST_FRAME_BYTES = 2**19  # joined to what comes next it is there three times: 1.5 MiB a stream


@dataclass(slots=True)  # not frozen: there is one for every chunk of every stream
class SseFrame:
    """The name of an event, mostly none, and what its ``data:`` lines say; nothing else counts."""

    name: bytes
    payload: bytes

    def parse(self) -> dict[str, Any]:
        """Return the JSON object it carries.

        Raises:
            UpstreamError: for anything else.

        """
        return read_object(self.payload)


class FrameReader:
    """Holds what has come of a frame that is not whole yet."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def is_empty(self) -> bool:
        """Whether no frame is waiting for its end."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[SseFrame]:
        """Take what arrived and return the frames that are whole and say something.

        Raises:
            UpstreamError: for an endless frame.

        """
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer:
            buffer = _unify_line_ends(buffer)
        whole, found, self._buffer = buffer.rpartition(b"\n\n")
        if not found and len(buffer) > MOST_FRAME_BYTES:
            raise UpstreamError("The model's provider sent an endless line.")
        for frame in whole.split(b"\n\n") if found else ():
            if frame.startswith(b"data: {") and b"\n" not in frame:  # almost all there are
                yield SseFrame(b"", frame[6:])
            elif (read := _read_lines(frame)).payload:
                yield read


def _unify_line_ends(buffer: bytes) -> bytes:
    """Write all three ends of a line as one; a last CR may be half of one, and stays."""
    last = buffer[-1:] if buffer.endswith(b"\r") else b""
    lines = buffer.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return lines + last


def _read_lines(frame: bytes) -> SseFrame:
    name, said = b"", []
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            said.append(value.strip())
        elif field == b"event":
            name = value.strip()
    return SseFrame(name, b"\n".join(said))

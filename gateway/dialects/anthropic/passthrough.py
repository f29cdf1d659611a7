"""Anthropic answers that pass through: frames as they came, with our id and model in the first.

The last two frames are kept back until the call is in the journal. What was relayed waits to be
counted: at a checkpoint, or at an end without the provider's own figures.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from billing.usage import Usage
from gateway.chat import Answer, ChoiceFinished, StopReason
from gateway.dialects.anthropic.frames import Frame, FrameReader
from gateway.dialects.anthropic.stream import STOP, render_block_stop, render_end, render_start
from gateway.dialects.anthropic.usage import parse_usage, render_usage
from gateway.dialects.base import CutFrames
from gateway.dialects.receipts import Receipt, replace_usage
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UpstreamError


class PassThroughStream:
    """Implements ``PassThrough``. ``_open`` is the number of the block that has not ended."""

    def __init__(self, answer: Answer) -> None:
        self.usage: Usage | None = None
        self.is_done = False
        self._answer = answer
        self._reader = FrameReader()
        self._uncounted: list[Frame] = []
        self._figures: dict[str, Any] = {}
        self._last: list[Frame] = []
        self._open: int | None = None
        self._fault: TollgateError | None = None
        self._is_started = False

    @property
    def uncounted_frames(self) -> int:
        return len(self._uncounted)

    def feed(self, data: bytes) -> bytes:
        """See ``PassThrough.feed``."""
        if self._fault is not None:
            raise self._fault
        frames: list[bytes] = []
        try:
            frames.extend(map(self._take, self._reader.feed(data)))
        except TollgateError as error:
            if not frames:
                raise
            self._fault = error  # what came before it goes out, however the bytes were cut
        if self.is_done:
            self.usage = parse_usage(self._figures)
        return b"".join(frames)

    def count_relayed(self) -> int:
        relayed = sum(frame.count_spoken() for frame in self._uncounted)
        self._uncounted.clear()
        return relayed

    def cut(self, frames: bytes, excess: int) -> CutFrames:
        kept = list(FrameReader().feed(frames))
        gone = 0
        while kept and gone < excess:
            frame = kept.pop()
            gone += frame.count_spoken()
            if frame.kind == "content_block_stop":
                self._open = frame.index
            elif frame.kind == "content_block_start":
                self._open = None
            elif frame.kind == "message_start":
                self._is_started = False
        return CutFrames(b"".join(frame.data for frame in kept), gone)

    def cut_off(self, receipt: Receipt) -> bytes:
        start = b"" if self._is_started else render_start(self._answer)
        block = b"" if self._open is None else render_block_stop(self._open)
        return start + block + render_end(ChoiceFinished(0, StopReason.BUDGET), receipt) + STOP

    def finish(self, receipt: Receipt) -> bytes:
        own = render_usage(receipt.usage)
        return b"".join(
            replace_usage(frame.data, receipt.stamp(frame.event.get("usage"), own))
            for frame in self._last
        )

    def _take(self, frame: Frame) -> bytes:
        match frame.kind:
            case "message_start":
                return self._begin(frame)
            case "content_block_start":
                self._open = frame.index
                self._uncounted.append(frame)
            case "content_block_delta":
                self._uncounted.append(frame)
            case "content_block_stop":
                self._open = None
            case "message_delta" | "message_stop":
                self._keep_back(frame)
                return b""
            case "error":
                raise frame.fault()
            case _:
                pass
        return frame.data

    def _begin(self, frame: Frame) -> bytes:
        message = frame.part("message")
        message["id"] = self._answer.completion_id
        message["model"] = self._answer.model
        self._add_figures(message.get("usage"))
        self._is_started = True
        return b"event: message_start\ndata: %b\n\n" % orjson.dumps(frame.event)

    def _keep_back(self, frame: Frame) -> None:
        self._last.append(frame)
        self._add_figures(frame.event.get("usage"))
        self.is_done = self.is_done or frame.kind == "message_stop"

    def _add_figures(self, usage: object) -> None:
        """Take cumulative figures: a later one replaces an earlier one, an absent one does not."""
        if isinstance(usage, dict):
            self._figures.update({name: n for name, n in usage.items() if n is not None})


@dataclass(frozen=True, slots=True)
class PatchedMessage:
    """Implements ``PatchedAnswer``."""

    parsed: dict[str, Any]
    usage: Usage | None

    def count(self) -> int:
        """Return our own count of the tokens in its blocks."""
        content = self.parsed["content"]
        return sum(_count_block(block) for block in content if isinstance(block, dict))

    def render(self, receipt: Receipt) -> bytes:
        usage = receipt.stamp(self.parsed.get("usage"), render_usage(receipt.usage))
        return orjson.dumps({**self.parsed, "usage": usage})


def patch_answer(body: bytes, answer: Answer) -> PatchedMessage:
    """Read and patch a whole answer.

    Raises:
        UpstreamError: for what is no message.

    """
    try:
        parsed = orjson.loads(body)
    except ValueError as error:
        raise UpstreamError("The model's provider sent an answer that is no JSON.") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("content"), list):
        raise UpstreamError("The model's provider sent an answer that is no message.")
    parsed["id"] = answer.completion_id
    parsed["model"] = answer.model
    return PatchedMessage(parsed, parse_usage(parsed.get("usage")))


def _count_block(block: dict[str, Any]) -> int:
    texts = [block.get(name) for name in ("text", "thinking", "name")]
    if isinstance(block.get("input"), dict):
        texts.append(orjson.dumps(block["input"]).decode())
    return sum(count_tokens(text) for text in texts if isinstance(text, str))

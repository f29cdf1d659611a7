"""Anthropic answers that pass through: every frame is read, and its event goes on as it came.

1. Each frame is read once. What is no event of this dialect, or comes before an answer's beginning,
   ends the stream; comments, and fields of frames that are not the event's, are left out.
2. The first event goes out under our id and model, those that follow as they came, each under its
   own name. Blocks come one after the other, numbered from 0: clients keep them in a list.
3. The end with the last figures is kept back until the call is in the journal, and then says what
   the call cost. Without a reason there is none; nothing after the end counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.usage import Usage, follow
from gateway.chat import Answer, ChoiceFinished, StopReason
from gateway.dialects.answer_bytes import CutAnswer, read_answer
from gateway.dialects.anthropic.frames import Frame, FrameReader
from gateway.dialects.anthropic.stream import (
    STOP,
    render_block_stop,
    render_end,
    render_start,
    starting_usage,
)
from gateway.dialects.anthropic.usage import is_count, parse_usage, render_usage
from gateway.dialects.base import CutFrames
from gateway.dialects.receipts import Receipt
from gateway.dialects.upstream_json import write_object
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UpstreamError


class PassThroughStream:
    """Implements ``PassThrough``. ``_open`` is the number of the block that has not ended.

    ``_end`` is the event that ends the answer, without the last figures, which are ``_reported``,
    and without its last brace; ``_has_reason`` tells whether it says why.
    """

    __slots__ = (
        "_answer",
        "_blocks",
        "_end",
        "_figures",
        "_has_reason",
        "_is_started",
        "_open",
        "_reader",
        "_reported",
        "fault",
        "is_done",
        "uncounted_tokens",
        "usage",
    )

    def __init__(self, answer: Answer) -> None:
        self.usage: Usage | None = None
        self.fault: TollgateError | None = None
        self.is_done = False
        self.uncounted_tokens = 0
        self._answer = answer
        self._reader = FrameReader()
        self._figures: dict[str, Any] = {}
        self._end: bytes | None = None
        self._reported: object = None
        self._open: int | None = None
        self._blocks = 0
        self._has_reason = False
        self._is_started = False

    def feed(self, data: bytes) -> bytes:
        """See ``PassThrough.feed``."""
        frames: list[bytes] = []
        try:
            for frame in self._reader.feed(data):
                if self.is_done:
                    break
                if self._take(frame):
                    frames.append(frame.data)
        except TollgateError as error:
            self.fault = error
        if self.is_done:
            self.usage = follow(self.usage, parse_usage(self._figures))
        return b"".join(frames)

    def count_relayed(self) -> int:
        """See ``PassThrough.count_relayed``."""
        relayed, self.uncounted_tokens = self.uncounted_tokens, 0
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

    def cut_off(self, receipt: Receipt, reason: StopReason = StopReason.BUDGET) -> bytes:
        start = b"" if self._is_started else render_start(self._answer)
        block = b"" if self._open is None else render_block_stop(self._open)
        return start + block + render_end(ChoiceFinished(0, reason), receipt) + STOP

    def finish(self, receipt: Receipt) -> bytes:
        assert self._end is not None, "without it the answer is not done"
        usage = receipt.write(self._reported, render_usage)
        return b'event: message_delta\ndata: %b,"usage":%b}\n\n%b' % (self._end, usage, STOP)

    def _take(self, frame: Frame) -> bool:
        """Take a frame and tell whether it goes out now."""
        if frame.kind == "content_block_delta":  # almost all there are
            self._check_open(frame.index)
            self.uncounted_tokens += frame.count_spoken()
        elif frame.kind == "error":
            raise frame.fault()
        elif frame.kind == "message_start":
            self._begin(frame)
            return True
        else:
            self._take_other(frame)
        if not self._is_started and frame.kind != "ping":
            raise UpstreamError("The model's provider sent an answer without its beginning.")
        return frame.kind not in {"message_delta", "message_stop"}

    def _take_other(self, frame: Frame) -> None:
        match frame.kind:
            case "content_block_start":
                self._start(frame.index)
                self.uncounted_tokens += frame.count_spoken()
            case "content_block_stop":
                self._check_open(frame.index)
                self._open = None
            case "message_delta":
                self._keep_back(frame)
            case "message_stop":
                self._stop()
            case _:
                pass

    def _start(self, index: int) -> None:
        self._check_open(None)
        if self._has_reason or index != self._blocks:
            raise _mixed()
        self._open = index
        self._blocks += 1

    def _stop(self) -> None:
        if self._open is not None or not self._has_reason:
            raise UpstreamError("The model's provider broke off its answer.")
        self.is_done = True

    def _check_open(self, index: int | None) -> None:
        if index != self._open:
            raise _mixed()

    def _begin(self, frame: Frame) -> None:
        if self._is_started:
            raise UpstreamError("The model's provider began its answer again.")
        self._is_started = True
        message = frame.part("message")
        message["id"] = self._answer.completion_id
        message["model"] = self._answer.model
        usage = message.get("usage")
        self._add_figures(usage)
        if not isinstance(usage, dict) or not is_count(usage.get("input_tokens")):
            message["usage"] = starting_usage(self._answer)
        frame.payload = write_object(frame.event)

    def _keep_back(self, frame: Frame) -> None:
        """Keep the end; a second one takes the place of the first, unless it says no reason."""
        has_reason = bool(frame.part("delta").get("stop_reason"))
        self._reported = frame.event.pop("usage", None)
        self._add_figures(self._reported)
        if has_reason or not self._has_reason:
            self._end = write_object(frame.event)[:-1]
        self._has_reason |= has_reason

    def _add_figures(self, usage: object) -> None:
        """Take cumulative figures: a later one replaces an earlier one, an absent one does not."""
        if isinstance(usage, dict):
            self._figures.update({name: n for name, n in usage.items() if n is not None})
            self.usage = follow(self.usage, parse_usage(self._figures))


def _mixed() -> UpstreamError:
    return UpstreamError("The model's provider mixed the blocks of its answer.")


@dataclass(frozen=True, slots=True)
class PatchedMessage:
    """Implements ``PatchedAnswer``.

    ``reported`` is how its figures came.
    """

    cut: CutAnswer
    content: Sequence[Mapping[str, Any]]
    reported: object
    usage: Usage | None

    def count(self) -> int:
        """Return our own count of the tokens in its blocks."""
        return sum(map(_count_block, self.content))

    def render(self, receipt: Receipt) -> bytes:
        return self.cut.render(receipt.write(self.reported, render_usage))


def patch_answer(body: bytes, answer: Answer) -> PatchedMessage:
    """Read and patch a whole answer.

    Raises:
        UpstreamError: for what is no message.

    """
    read = read_answer(body)
    if not _is_message(read.members):
        raise UpstreamError("The model's provider sent an answer that is no message.")
    cut = read.cut({"id": answer.completion_id, "model": answer.model})
    reported = read.members.get("usage")
    return PatchedMessage(cut, read.members["content"], reported, parse_usage(reported))


def _is_message(parsed: Mapping[str, Any]) -> bool:
    """Tell whether these are blocks, maybe none, and a reason why there are no more."""
    content, reason = parsed.get("content"), parsed.get("stop_reason")
    if parsed.get("type") != "message" or parsed.get("error") or not isinstance(content, list):
        return False
    are_blocks = all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in content
    )
    return are_blocks and isinstance(reason, str) and reason != ""


def _count_block(block: Mapping[str, Any]) -> int:
    texts = [block.get(name) for name in ("text", "thinking", "name")]
    if isinstance(block.get("input"), dict):
        texts.append(write_object(block["input"]).decode())
    return sum(count_tokens(text) for text in texts if isinstance(text, str))

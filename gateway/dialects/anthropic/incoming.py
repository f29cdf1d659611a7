"""An upstream's stream as neutral events, for callers of another dialect.

1. ``message_start`` and ``message_delta`` bring the figures, cumulative.
2. A block starts, gets its deltas and stops; its number is never another than the open one's.
3. ``message_delta`` says why the answer ended; with ``message_stop`` the caller hears of it.
   Without a reason the answer was broken off.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from gateway.chat import (
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from gateway.dialects.anthropic.frames import Frame, FrameReader
from gateway.dialects.anthropic.usage import parse_usage
from gateway.dialects.arguments import check_arguments
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UpstreamError

_REASONS: Mapping[str, StopReason] = MappingProxyType(
    {
        "end_turn": StopReason.END,
        "pause_turn": StopReason.END,
        "stop_sequence": StopReason.STOP_SEQUENCE,
        "max_tokens": StopReason.LENGTH,
        "model_context_window_exceeded": StopReason.LENGTH,
        "tool_use": StopReason.TOOL_CALLS,
        "refusal": StopReason.CONTENT_FILTER,
    }
)


class EventReader:
    """Reads one answer as the events of one choice. ``is_done`` once it has ended well."""

    def __init__(self, choice: int = 0) -> None:
        self.is_done = False
        self.fault: TollgateError | None = None
        self._choice = choice
        self._frames = FrameReader()
        self._block: _Block | None = None
        self._calls = 0
        self._said: list[str] = []
        self._figures: dict[str, Any] = {}
        self._end: ChoiceFinished | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take what arrived and return the events in it, up to a fault, which stays in ``fault``.

        A fault is an error frame, or what is no such stream.
        """
        events: list[StreamEvent] = []
        try:
            for frame in self._frames.feed(data):
                self._read(frame, events)
        except TollgateError as error:
            self.fault = error
        return events

    def _read(self, frame: Frame, events: list[StreamEvent]) -> None:
        match frame.kind:
            case "message_start":
                self._add_figures(frame.part("message").get("usage"))
            case "content_block_start":
                self._start(frame, events)
            case "content_block_delta":
                self._add(_text_of(frame.part("delta"), "type"), frame, events)
            case "content_block_stop":
                self._stop(frame, events)
            case "message_delta":
                self._add_figures(frame.event.get("usage"))
                self._end = self._read_end(frame.part("delta")) or self._end
            case "message_stop":
                self._finish(events)
            case "error":
                raise frame.fault()
            case _:
                pass

    def _start(self, frame: Frame, events: list[StreamEvent]) -> None:
        wire = frame.part("content_block")
        if self._block is not None or self._end is not None:
            raise _mixed()
        self._block = block = _Block(frame.index, _text_of(wire, "type"))
        match block.kind:
            case "text":
                self._say(_text_of(wire, "text", ""), events)
            case "thinking":
                self._think(_text_of(wire, "thinking", ""), events)
                block.signature = _text_of(wire, "signature", "")
            case "redacted_thinking":
                events.append(ThinkingEnded(self._choice, sealed=_text_of(wire, "data")))
            case "tool_use":
                name = _text_of(wire, "name")
                block.call, self._calls = self._calls, self._calls + 1
                block.given = orjson.dumps(wire.get("input") or {}).decode()
                events.append(
                    ToolCallStarted(
                        self._choice, block.call, _text_of(wire, "id"), name, count_tokens(name)
                    )
                )

    def _add(self, kind: str, frame: Frame, events: list[StreamEvent]) -> None:
        block = self._open_block(frame)
        delta = frame.part("delta")
        match kind, block.kind:
            case "text_delta", "text":
                self._say(_text_of(delta, "text"), events)
            case "thinking_delta", "thinking":
                self._think(_text_of(delta, "thinking"), events)
            case "signature_delta", "thinking":
                block.signature += _text_of(delta, "signature")
            case "input_json_delta", "tool_use":
                piece = _text_of(delta, "partial_json")
                block.arguments.append(piece)
                self._call(block, piece, events)
            case _:
                pass  # citations, and what the provider's own tools do, have no counterpart

    def _stop(self, frame: Frame, events: list[StreamEvent]) -> None:
        block = self._open_block(frame)
        self._block = None
        if block.kind == "thinking":
            events.append(ThinkingEnded(self._choice, block.signature))
        elif block.kind == "tool_use":
            if not any(block.arguments):
                block.arguments = [block.given]
                self._call(block, block.given, events)
            self._said.append("".join(block.arguments))

    def _open_block(self, frame: Frame) -> "_Block":
        if self._block is None or self._block.index != frame.index:
            raise _mixed()
        return self._block

    def _read_end(self, delta: Mapping[str, Any]) -> ChoiceFinished | None:
        word = delta.get("stop_reason")
        if not word:
            return None
        reason = _REASONS.get(str(word), StopReason.END)
        stop = delta.get("stop_sequence")
        return ChoiceFinished(self._choice, reason, stop if isinstance(stop, str) else None)

    def _finish(self, events: list[StreamEvent]) -> None:
        if self._block is not None or self._end is None:
            raise UpstreamError("The model's provider broke off its answer.")
        if self._end.reason is StopReason.TOOL_CALLS:
            for arguments in self._said:
                check_arguments(arguments)
        events.append(self._end)
        usage = parse_usage(self._figures)
        if usage is not None:
            events.append(UsageReported(usage))
        self.is_done = True

    def _say(self, text: str, events: list[StreamEvent]) -> None:
        if text:
            events.append(TextDelta(self._choice, text, count_tokens(text)))

    def _think(self, text: str, events: list[StreamEvent]) -> None:
        if text:
            events.append(ThinkingDelta(self._choice, text, count_tokens(text)))

    def _call(self, block: "_Block", arguments: str, events: list[StreamEvent]) -> None:
        if arguments:
            events.append(
                ToolCallDelta(self._choice, block.call, arguments, count_tokens(arguments))
            )

    def _add_figures(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._figures.update({name: n for name, n in usage.items() if n is not None})


class _Block:
    """The block that is open. ``given`` is the input a call started with."""

    __slots__ = ("arguments", "call", "given", "index", "kind", "signature")

    def __init__(self, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.call = 0
        self.given = ""
        self.signature = ""
        self.arguments: list[str] = []


def _mixed() -> UpstreamError:
    return UpstreamError("The model's provider mixed the blocks of its answer.")


def _text_of(holder: Mapping[str, Any], name: str, default: str | None = None) -> str:
    text = holder.get(name, default)
    if not isinstance(text, str):
        raise UpstreamError("The model's provider sent a frame without its content.")
    return text

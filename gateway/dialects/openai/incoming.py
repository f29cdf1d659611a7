"""An upstream's stream as neutral events, for callers of another dialect, who ask for one choice.

Servers differ: some name a call again with each piece, some number none, some end calls with
``stop``, some add to several calls in turns, some say content in parts. Arguments that are no JSON
object at the end are an upstream's fault, said before the caller takes them for good.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gateway.chat import (
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from gateway.dialects.openai.calls import CallOrder
from gateway.dialects.openai.usage import parse_usage
from gateway.dialects.sse import FrameReader
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UpstreamError
from kernel.ids import random_base62

_DONE = b"[DONE]"
_REASONS: Mapping[str, StopReason] = MappingProxyType(
    {
        "stop": StopReason.END,
        "length": StopReason.LENGTH,
        "tool_calls": StopReason.TOOL_CALLS,
        "function_call": StopReason.TOOL_CALLS,
        "content_filter": StopReason.CONTENT_FILTER,
    }
)


class EventReader:
    """Reads one answer. ``is_done`` once it has ended well.

    ``stops`` were asked for: some servers name the one that ended the answer.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        self.is_done = False
        self.fault: TollgateError | None = None
        self._frames = FrameReader()
        self._calls: CallOrder | None = None
        self._is_finished = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take what arrived and return the events in it, up to a fault, which stays in ``fault``.

        A fault is an error frame, or what is no such stream.
        """
        events: list[StreamEvent] = []
        try:
            for frame in self._frames.feed(data):
                if frame.payload == _DONE:
                    self._end()
                elif not self.is_done:
                    self._read(frame.parse(), events)
        except TollgateError as error:
            self.fault = error
        return events

    def _read(self, chunk: Mapping[str, Any], events: list[StreamEvent]) -> None:
        if chunk.get("error"):
            raise UpstreamError("The model's provider broke off its answer.")
        choices = chunk.get("choices")
        if choices:
            if not isinstance(choices, list) or not isinstance(choices[0], dict):
                raise _odd()
            self._read_choice(choices[0], events)
        usage = parse_usage(chunk.get("usage"))
        if usage is not None:
            events.append(UsageReported(usage))

    def _read_choice(self, choice: Mapping[str, Any], events: list[StreamEvent]) -> None:
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise _odd()
        self._think(_text(delta, "reasoning_content") or _text(delta, "reasoning"), events)
        if isinstance(delta.get("content"), list):
            self._read_parts(delta.pop("content"), events)
        self._speak(_text(delta, "content") + _text(delta, "refusal"), events)
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list):
            raise _odd()
        for call in calls:
            self._read_call(call, events)
        reason = choice.get("finish_reason")
        if reason and not self._is_finished:  # an empty one is none, as some servers write it
            self._finish(str(reason), choice.get("stop_reason"), events)

    def _read_parts(self, parts: list[Any], events: list[StreamEvent]) -> None:
        """Read content in parts; those of other types have no counterpart."""
        for part in map(_holder, parts):
            self._speak(_text(part, "text"), events)
            thinking = part.get("thinking")
            if isinstance(thinking, list):
                self._think("".join(_text(_holder(each), "text") for each in thinking), events)
            else:
                self._think(_text(part, "thinking"), events)

    def _think(self, thought: str, events: list[StreamEvent]) -> None:
        if thought:
            self._say(ThinkingDelta(0, thought, count_tokens(thought)), events)

    def _speak(self, text: str, events: list[StreamEvent]) -> None:
        if text:
            self._say(TextDelta(0, text, count_tokens(text)), events)

    def _say(self, event: StreamEvent, events: list[StreamEvent]) -> None:
        if self._calls is None:
            events.append(event)
        else:
            self._calls.say(event, events)

    def _read_call(self, call: Any, events: list[StreamEvent]) -> None:
        if not isinstance(call, dict) or not isinstance(call.get("function") or {}, dict):
            raise _odd()
        function = call.get("function") or {}
        if self._calls is None:
            self._calls = CallOrder()
        call_id, name = _text(call, "id"), _text(function, "name")
        index = call.get("index")
        if index is None:  # then a name begins a call, and what has none belongs to the last
            index = len(self._calls) if name else len(self._calls) - 1
        if not self._calls.knows(index, call_id, name):
            if not name or type(index) is not int:
                raise _odd()
            self._calls.start(index, call_id or "call_" + random_base62(24), name, events)
        arguments = _text(function, "arguments")
        if arguments:
            self._calls.add(index, arguments, events)

    def _finish(self, word: str, stop: object, events: list[StreamEvent]) -> None:
        self._is_finished = True
        if self._calls is not None:
            self._calls.end(events)
        if word == "stop" and isinstance(stop, str) and stop in self._stops:
            events.append(ChoiceFinished(0, StopReason.STOP_SEQUENCE, stop))
            return
        reason = _REASONS.get(word, StopReason.END)
        if self._calls and reason is StopReason.END:
            reason = StopReason.TOOL_CALLS
        if reason is StopReason.TOOL_CALLS and self._calls is not None:
            self._calls.check()
        events.append(ChoiceFinished(0, reason))

    def _end(self) -> None:
        if not self._is_finished:
            raise UpstreamError("The model's provider broke off its answer.")
        self.is_done = True


def _holder(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _odd()
    return value


def _text(holder: Mapping[str, Any], name: str) -> str:
    text = holder.get(name)
    if text is not None and not isinstance(text, str):
        raise _odd()
    return text or ""


def _odd() -> UpstreamError:
    return UpstreamError("The model's provider sent a frame of a wrong form.")

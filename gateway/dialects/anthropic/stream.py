"""Streamed answers: events as frames. Blocks are counted from 0, follow one another, never mix.

1. The first event sends ``message_start`` with our own count of the prompt.
2. A delta of another kind than the open block stops that and starts the next; after the first
   start comes a ``ping``.
3. ``finish`` stops the open block and sends the cumulative figures; ``fail`` an error and nothing
   more, since clients take everything after it for part of the answer.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from billing.usage import Usage
from gateway.chat import (
    Answer,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.anthropic.errors import render_error
from gateway.dialects.anthropic.responses import STOP_REASONS
from gateway.dialects.anthropic.usage import render_usage
from gateway.dialects.receipts import Receipt
from gateway.dialects.writing import dump_text
from kernel.errors import TollgateError

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TEXT = b'{"type":"text","text":""}'
_THINKING = b'{"type":"thinking","thinking":"","signature":""}'


class AnthropicStream:
    """One streamed answer. A text's pieces cost what they do in the other dialect."""

    __slots__ = ("_answer", "_delta_head", "_end", "_index", "_is_started", "_open", "_text_head")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._is_started = False
        self._index = -1
        self._open: str | None = None
        self._delta_head = b""
        self._text_head = b""
        self._end = ChoiceFinished(0, StopReason.END)

    def render(self, events: Iterable[StreamEvent]) -> bytes:
        """Return the frames of these events, possibly empty."""
        frames: list[bytes] = []
        add = frames.append
        for event in events:
            if type(event) is TextDelta:
                if not event.text:
                    continue
                if self._open != "text":
                    self._start("text", _TEXT, frames)
                add(self._text_head)
                add(dump_text(event.text))
                add(b"}}\n\n")
            else:
                self._render_other(event, frames)
        return b"".join(frames)

    def cut_off(self, reason: StopReason = StopReason.BUDGET) -> bytes:
        """Note why the answer ends; ``finish`` says so."""
        self._end = ChoiceFinished(0, reason)
        return b""

    def finish(self, receipt: Receipt) -> bytes:
        """Return what ends the stream: the open block's stop, the reason, the figures."""
        frames: list[bytes] = []
        self._begin(frames)
        self._stop(frames)
        frames += (render_end(self._end, receipt), STOP)
        return b"".join(frames)

    def fail(self, error: TollgateError) -> bytes:
        """Return the error frame; no block and no message is said to have ended."""
        body = render_error(error, self._answer.request_id, is_streamed=True)
        return b"event: error\ndata: %b\n\n" % body

    def _render_other(self, event: StreamEvent, frames: list[bytes]) -> None:
        match event:
            case ThinkingDelta(text=text) if text:
                if self._open != "thinking":
                    self._start("thinking", _THINKING, frames)
                self._add_delta(b'{"type":"thinking_delta","thinking":', text, frames)
            case ThinkingEnded():
                self._end_thinking(event, frames)
            case ToolCallStarted(call_id=call_id, name=name):
                block = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}'
                self._start("tool_use", block % (dump_text(call_id), dump_text(name)), frames)
            case ToolCallDelta(arguments=arguments) if arguments:
                self._add_delta(b'{"type":"input_json_delta","partial_json":', arguments, frames)
            case ChoiceFinished():
                self._begin(frames)
                self._stop(frames)
                self._end = event
            case _:
                pass

    def _end_thinking(self, event: ThinkingEnded, frames: list[bytes]) -> None:
        if event.sealed:
            block = b'{"type":"redacted_thinking","data":%b}' % dump_text(event.sealed)
            self._start("redacted_thinking", block, frames)
        elif self._open == "thinking" and event.signature:
            self._add_delta(b'{"type":"signature_delta","signature":', event.signature, frames)
        self._stop(frames)

    def _add_delta(self, head: bytes, text: str, frames: list[bytes]) -> None:
        frames += (self._delta_head, head, dump_text(text), b"}}\n\n")

    def _begin(self, frames: list[bytes]) -> None:
        if not self._is_started:
            self._is_started = True
            frames.append(render_start(self._answer))

    def _start(self, kind: str, block: bytes, frames: list[bytes]) -> None:
        self._begin(frames)
        self._stop(frames)
        self._open = kind
        self._index += 1
        self._delta_head = (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,"delta":' % self._index
        )
        self._text_head = self._delta_head + b'{"type":"text_delta","text":'
        frames.append(
            b"event: content_block_start\n"
            b'data: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
            % (self._index, block)
        )
        if self._index == 0:
            frames.append(PING)

    def _stop(self, frames: list[bytes]) -> None:
        if self._open is not None:
            self._open = None
            frames.append(render_block_stop(self._index))


def starting_usage(answer: Answer) -> dict[str, Any]:
    """Return the figures an answer begins with, by our own count."""
    usage = render_usage(Usage(input=answer.prompt_tokens, output=1))
    return {**usage, "service_tier": "standard"}


def render_start(answer: Answer) -> bytes:
    """Return the first frame; the output is not known yet, and at least 1 as clients expect."""
    usage = starting_usage(answer)
    return (
        b"event: message_start\n"
        b'data: {"type":"message_start","message":{"id":%b,"type":"message","role":"assistant",'
        b'"model":%b,"content":[],"stop_reason":null,"stop_sequence":null,"usage":%b}}\n\n'
    ) % (dump_text(answer.completion_id), dump_text(answer.model), orjson.dumps(usage))


def render_block_stop(index: int) -> bytes:
    """Return the frame that ends a block."""
    return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index


def render_end(end: ChoiceFinished, receipt: Receipt) -> bytes:
    """Return the frame with the reason and the cumulative figures."""
    stop = end.stop_sequence
    is_cut = end.reason is StopReason.BUDGET
    return (
        b"event: message_delta\n"
        b'data: {"type":"message_delta","delta":{"stop_reason":"%b","stop_sequence":%b},'
        b'"usage":%b%b}\n\n'
    ) % (
        STOP_REASONS[end.reason].encode(),
        b"null" if stop is None else dump_text(stop),
        orjson.dumps({**render_usage(receipt.usage), **receipt.fields()}),
        b',"x_tollgate":{"code":"budget_exhausted"}' if is_cut else b"",
    )

"""Whole answers: the message that is not streamed, and the count of a prompt."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import orjson

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
from gateway.dialects.anthropic.usage import render_usage
from gateway.dialects.receipts import Receipt
from gateway.dialects.writing import dump_text

STOP_REASONS: Mapping[StopReason, str] = MappingProxyType(
    {
        StopReason.END: "end_turn",
        StopReason.STOP_SEQUENCE: "stop_sequence",
        StopReason.LENGTH: "max_tokens",
        StopReason.TOOL_CALLS: "tool_use",
        StopReason.CONTENT_FILTER: "refusal",
        StopReason.BUDGET: "max_tokens",
    }
)


def render_answer(answer: Answer, events: Iterable[StreamEvent], receipt: Receipt) -> bytes:
    """Return the body of a whole answer: a block for each stretch of text, thinking, each call."""
    said = tuple(events)
    ends = [event for event in said if isinstance(event, ChoiceFinished)]
    end = ends[-1] if ends else ChoiceFinished(0, StopReason.END)
    stop = end.stop_sequence
    return (
        b'{"id":%b,"type":"message","role":"assistant","model":%b,"content":[%b],'
        b'"stop_reason":"%b","stop_sequence":%b,"usage":%b}'
    ) % (
        dump_text(answer.completion_id),
        dump_text(answer.model),
        b",".join(block.render() for block in _gather(said)),
        STOP_REASONS[end.reason].encode(),
        b"null" if stop is None else dump_text(stop),
        orjson.dumps(
            {**render_usage(receipt.usage), "service_tier": "standard", **receipt.fields()}
        ),
    )


def _gather(events: Iterable[StreamEvent]) -> list["_Block"]:
    blocks: list[_Block] = []
    for event in events:
        match event:
            case TextDelta(text=text) if text:
                _block_of("text", blocks).pieces.append(text)
            case ThinkingDelta(text=text) if text:
                _block_of("thinking", blocks).pieces.append(text)
            case ThinkingEnded(sealed=sealed) if sealed:
                blocks.append(_Block("redacted_thinking", end=event))
            case ThinkingEnded():
                _block_of("thinking", blocks).end = event
            case ToolCallStarted():
                blocks.append(_Block("tool_use", start=event))
            case ToolCallDelta(arguments=arguments):
                _block_of("tool_use", blocks).pieces.append(arguments)
            case _:
                pass
    return blocks


class _Block:
    """What the events of one block add up to."""

    __slots__ = ("end", "kind", "pieces", "start")

    def __init__(
        self, kind: str, *, start: ToolCallStarted | None = None, end: ThinkingEnded | None = None
    ) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.pieces: list[str] = []

    def render(self) -> bytes:
        text = "".join(self.pieces)
        if self.start is not None:
            return b'{"type":"tool_use","id":%b,"name":%b,"input":%b}' % (
                dump_text(self.start.call_id),
                dump_text(self.start.name),
                _render_input(text),
            )
        if self.kind == "text":
            return b'{"type":"text","text":%b}' % dump_text(text)
        if self.kind == "redacted_thinking" and self.end is not None:
            return b'{"type":"redacted_thinking","data":%b}' % dump_text(self.end.sealed)
        signature = "" if self.end is None else self.end.signature
        return b'{"type":"thinking","thinking":%b,"signature":%b}' % (
            dump_text(text),
            dump_text(signature),
        )


def _block_of(kind: str, blocks: list[_Block]) -> _Block:
    """Return the open block of a kind, which is the last one or new."""
    if not blocks or blocks[-1].kind != kind or blocks[-1].end is not None:
        blocks.append(_Block(kind))
    return blocks[-1]


def _render_input(arguments: str) -> bytes:
    """Return the object of a call's arguments; what the limit cut short is no object any more."""
    try:
        value = orjson.loads(arguments)
    except ValueError:
        return b"{}"
    return orjson.dumps(value) if isinstance(value, dict) else b"{}"


def render_count(tokens: int) -> bytes:
    """Return the answer to the question how many tokens a prompt has."""
    return orjson.dumps({"input_tokens": tokens})

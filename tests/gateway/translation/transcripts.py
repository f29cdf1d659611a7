"""What upstreams send: the same answer in both dialects, frame by frame; and reading it."""

from collections.abc import Sequence
from typing import Any

import orjson

from billing.usage import Usage
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
from gateway.providers.translated import Reader
from gateway.tokenizer import count_tokens

WORDS = ("Grüße, ", '"quoted" ', "\\n", "😀")
THOUGHTS = ("Hm, ", "yes.")
PIECES = ('{"location":', '"Oslo"}')
FIGURES = Usage(input=7, cached_input=2, output=14, reasoning=6, request=1)


def anthropic_frame(kind: str, **fields: Any) -> bytes:
    body = orjson.dumps({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


def anthropic_block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    return b"".join(
        [
            anthropic_frame("content_block_start", index=index, content_block=block),
            *[anthropic_frame("content_block_delta", index=index, delta=delta) for delta in deltas],
            anthropic_frame("content_block_stop", index=index),
        ]
    )


def anthropic_start(**usage: int) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_upstream",
        "type": "message",
        "role": "assistant",
        "model": "up-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return anthropic_frame("message_start", message=message)


def anthropic_end(reason: str, stop: str | None = None, **usage: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": stop}
    return anthropic_frame("message_delta", delta=delta, usage=usage) + anthropic_frame(
        "message_stop"
    )


ANTHROPIC = b"".join(
    [
        anthropic_start(input_tokens=7, cache_read_input_tokens=2, output_tokens=1),
        anthropic_frame("ping"),
        anthropic_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            *[{"type": "thinking_delta", "thinking": text} for text in THOUGHTS],
            {"type": "signature_delta", "signature": "signed"},
        ),
        anthropic_block(
            1,
            {"type": "text", "text": ""},
            *[{"type": "text_delta", "text": text} for text in WORDS],
        ),
        b": keep-alive\n\n",
        anthropic_block(
            2,
            {"type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            *[{"type": "input_json_delta", "partial_json": text} for text in PIECES],
        ),
        anthropic_block(3, {"type": "tool_use", "id": "toolu_b", "name": "f", "input": {}}),
        anthropic_end("tool_use", output_tokens=20, output_tokens_details={"thinking_tokens": 6}),
    ]
)


def openai_frame(delta: dict[str, Any] | None, finish: str | None = None, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up-1",
        "choices": choices,
        **fields,
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"


def openai_call(index: int, **fields: Any) -> bytes:
    return openai_frame({"tool_calls": [{"index": index, **fields}]})


DONE = b"data: [DONE]\n\n"
OPENAI_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 20,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 6},
}
OPENAI = b"".join(
    [
        openai_frame({"role": "assistant", "content": ""}),
        *[openai_frame({"reasoning_content": text}) for text in THOUGHTS],
        *[openai_frame({"content": text}) for text in WORDS],
        b": keep-alive\n\n",
        openai_call(
            0,
            id="toolu_a",
            type="function",
            function={"name": "get_weather", "arguments": ""},
        ),
        *[openai_call(0, function={"arguments": text}) for text in PIECES],
        openai_call(1, id="toolu_b", type="function", function={"name": "f", "arguments": "{}"}),
        openai_frame({}, "tool_calls"),
        openai_frame(None, usage=OPENAI_USAGE),
        DONE,
    ]
)
# Signatures are Anthropic's own.
SIGNED = ThinkingEnded(0, "signed")
EVENTS: tuple[StreamEvent, ...] = (
    *[ThinkingDelta(0, text, count_tokens(text)) for text in THOUGHTS],
    SIGNED,
    *[TextDelta(0, text, count_tokens(text)) for text in WORDS],
    ToolCallStarted(0, 0, "toolu_a", "get_weather", 3),
    *[ToolCallDelta(0, 0, text, count_tokens(text)) for text in PIECES],
    ToolCallStarted(0, 1, "toolu_b", "f", 1),
    ToolCallDelta(0, 1, "{}", 2),
    ChoiceFinished(0, StopReason.TOOL_CALLS),
    UsageReported(FIGURES),
)


def read_parts(reader: Reader, parts: Sequence[bytes]) -> list[StreamEvent]:
    """Feed until the end or a fault, as an upstream's bytes are."""
    events: list[StreamEvent] = []
    for part in parts:
        events += reader.feed(part)
        if reader.fault is not None:
            break
    return events

"""What a caller gets of an upstream's stream of the same dialect, and what is wrong with it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from billing.usage import Evidence, Usage
from gateway.chat import Answer, ChatRequest, ToolMode
from gateway.dialects import anthropic, openai
from gateway.dialects.base import Dialect
from gateway.dialects.receipts import Receipt
from kernel.errors import TollgateError, UpstreamError
from kernel.money import Nanos

ANSWER = Answer("chatcmpl-ours", "public", 1, "fp", "req_1", 9)
RECEIPT = Receipt(Usage(input=9, output=4, request=1), Nanos(123_000), Evidence.PROVIDER)


@dataclass(frozen=True)
class Got:
    """``frames`` is all that the caller got; ``tokens`` our own count of what was relayed."""

    frames: bytes
    tokens: int
    fault: TollgateError | None
    usage: Usage | None


def through_openai(
    parts: Sequence[bytes],
    *,
    include_usage: bool = False,
    n: int = 1,
    tool_mode: ToolMode = ToolMode.NONE,
) -> Got:
    request = ChatRequest(
        "public", (), {}, stream=True, include_usage=include_usage, n=n, tool_mode=tool_mode
    )
    return _through(openai.DIALECT, request, parts)


def through_anthropic(parts: Sequence[bytes]) -> Got:
    return _through(anthropic.DIALECT, ChatRequest("public", (), {}, dialect="anthropic"), parts)


def _through(dialect: Dialect, request: ChatRequest, parts: Sequence[bytes]) -> Got:
    stream = dialect.open_pass_through(request, ANSWER)
    frames, fault = b"", None
    try:
        for part in parts:
            frames += stream.feed(part)
            if stream.fault is not None:
                raise stream.fault
        if not stream.is_done:
            raise UpstreamError("The model's provider broke off its answer.")
    except TollgateError as error:
        fault = error
        last = dialect.open_stream(request, ANSWER).fail(error)
    else:
        last = stream.finish(RECEIPT)
    return Got(frames + last, stream.count_relayed(), fault, stream.usage)


def chunks_of(got: Got, *, include_usage: bool = False) -> list[dict[str, Any]]:
    """Return the chunks a caller got before the end or an error, each of the contract's form."""
    bodies = list(_data_of(got.frames, b"data: "))
    assert bodies.pop() == b"[DONE]"
    chunks = [json.loads(body) for body in bodies]
    if got.fault is not None:
        error = chunks.pop()
        assert error.keys() == {"error"}
        assert error["error"]["message"] == got.fault.message
    for place, chunk in enumerate(chunks):
        assert (chunk["id"], chunk["model"]) == ("chatcmpl-ours", "public")
        assert (chunk["object"], chunk["created"]) == ("chat.completion.chunk", 1)
        is_last = include_usage and place == len(chunks) - 1 and got.fault is None
        assert chunk["choices"] or is_last
        for choice in chunk["choices"]:
            assert {"index", "delta", "finish_reason"} <= choice.keys()
            assert isinstance(choice["delta"], dict)
            assert not choice.get("error")
        assert not chunk.get("error")
    return chunks


def events_of(got: Got) -> list[dict[str, Any]]:
    """Return the events a caller got before an error, and check the contract's form of each."""
    events = []
    for frame in _frames_of(got.frames):
        name, body = frame.split(b"\n")
        assert body.startswith(b"data: ")
        event = json.loads(body.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    starts = [event["message"] for event in events if event["type"] == "message_start"]
    assert [(message["id"], message["model"]) for message in starts] in (
        [],
        [("chatcmpl-ours", "public")],
    )
    kinds = [event["type"] for event in events]
    assert kinds.count("error") == (got.fault is not None)
    assert kinds[-1] == ("message_stop" if got.fault is None else "error")
    if got.fault is not None:
        assert events.pop()["error"]["message"] == got.fault.message
    return events


def _data_of(frames: bytes, prefix: bytes) -> Iterator[bytes]:
    for frame in _frames_of(frames):
        assert frame.startswith(prefix)
        assert b"\n" not in frame
        yield frame.removeprefix(prefix)


def _frames_of(frames: bytes) -> list[bytes]:
    frames.decode()
    assert b"\r" not in frames
    assert frames.endswith(b"\n\n")
    return frames.removesuffix(b"\n\n").split(b"\n\n")

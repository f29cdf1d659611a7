"""Answers: what events add up to, the response object, and its figures."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from billing.usage import Usage
from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.receipts import Receipt
from gateway.dialects.writing import clean

_CUT = {
    StopReason.LENGTH: "max_output_tokens",
    StopReason.BUDGET: "max_output_tokens",
    StopReason.CONTENT_FILTER: "content_filter",
}
_PREFIXES = {"message": "msg_", "function_call": "fc_", "reasoning": "rs_"}


@dataclass(slots=True)
class Output:
    """One thing in the output: a message, a function's call, or a stretch of thinking."""

    kind: str
    output_id: str
    place: int
    call: ToolCallStarted | None = None
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return clean("".join(self.pieces))

    def part(self) -> dict[str, Any]:
        """Return the content of what is no call."""
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": self.text}
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}

    def render(self, status: str) -> dict[str, Any]:
        """Return it as it stands; what is still in progress shows nothing of itself."""
        begun: dict[str, Any] = {"id": self.output_id, "type": self.kind, "status": status}
        if self.call is not None:
            return {
                **begun,
                "call_id": clean(self.call.call_id),
                "name": clean(self.call.name),
                "arguments": "" if status == "in_progress" else self.text,
            }
        content = [] if status == "in_progress" else [self.part()]
        if self.kind == "reasoning":
            return {**begun, "summary": [], "content": content}
        return {**begun, "role": "assistant", "content": content}


class Outputs:
    """What an only choice has said so far. ``place`` opens an output where an event begins one."""

    def __init__(self, answer: Answer) -> None:
        self.all: list[Output] = []
        self.reason = StopReason.END
        self._suffix = answer.completion_id.partition("_")[2]

    def take(self, event: StreamEvent) -> tuple[Output, str] | None:
        """Add an event; return the output it belongs to and its piece, None for other events."""
        match event:
            case TextDelta(text=text):
                output, piece = self._current("message"), text
            case ThinkingDelta(text=text):
                output, piece = self._current("reasoning"), text
            case ToolCallStarted():
                output, piece = self._open("function_call", event), ""
            case ToolCallDelta(arguments=arguments):
                output, piece = self.all[-1], arguments
            case ChoiceFinished(reason=reason):
                self.reason = reason
                return None
            case _:
                return None
        output.pieces.append(piece)
        return output, piece

    @property
    def cut(self) -> str | None:
        """Return why the answer is incomplete, None where it is not."""
        return _CUT.get(self.reason)

    def render(self) -> list[dict[str, Any]]:
        """Return all outputs of an answer that has ended."""
        last = len(self.all) - 1
        return [
            output.render("incomplete" if self.cut and output.place == last else "completed")
            for output in self.all
        ]

    def _current(self, kind: str) -> Output:
        if self.all and self.all[-1].kind == kind:
            return self.all[-1]
        return self._open(kind)

    def _open(self, kind: str, call: ToolCallStarted | None = None) -> Output:
        place = len(self.all)
        output = Output(kind, f"{_PREFIXES[kind]}{self._suffix}{place}", place, call)
        self.all.append(output)
        return output


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return the figures: the input with what was cached, the output with reasoning."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def begun_response(request: ChatRequest, answer: Answer) -> dict[str, Any]:
    """Return the response object of an answer in progress; nothing of it is stored."""
    wire = request.wire
    text = wire.get("text") or {}
    return {
        "id": answer.completion_id,
        "object": "response",
        "created_at": answer.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": wire.get("instructions"),
        "max_output_tokens": wire.get("max_output_tokens"),
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls,
        "previous_response_id": None,
        "reasoning": wire.get("reasoning") or {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": wire.get("tool_choice") or "auto",
        "tools": wire.get("tools") or [],
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": wire.get("user"),
        "metadata": wire.get("metadata") or {},
    }


def ended_response(begun: dict[str, Any], outputs: Outputs, receipt: Receipt) -> dict[str, Any]:
    """Return the response object of an answer that ended well, or at a limit."""
    cut = outputs.cut
    ended = {
        **begun,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "output": outputs.render(),
        "usage": {**render_usage(receipt.usage), **receipt.fields()},
    }
    if outputs.reason is StopReason.BUDGET:
        ended["x_tollgate"] = {"code": "budget_exhausted"}
    return ended


def render_answer(
    request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
) -> bytes:
    """Return the body of a whole answer."""
    outputs = Outputs(answer)
    for event in events:
        outputs.take(event)
    return orjson.dumps(ended_response(begun_response(request, answer), outputs, receipt))


def render_count(tokens: int) -> bytes:
    """Return the answer to the question how many tokens an input has."""
    return orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})

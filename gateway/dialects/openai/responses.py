"""Whole answers: the completion that is not streamed, and the list of models."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    TokenOdds,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.base import ListedModel
from gateway.dialects.offers import render_offer, render_pricing
from gateway.dialects.openai.functions import answers_with_functions
from gateway.dialects.openai.odds import render_odds
from gateway.dialects.openai.usage import render_usage
from gateway.dialects.receipts import Receipt
from gateway.dialects.writing import dump_text

FINISH_REASONS: Mapping[StopReason, str] = MappingProxyType(
    {
        StopReason.END: "stop",
        StopReason.STOP_SEQUENCE: "stop",
        StopReason.LENGTH: "length",
        StopReason.TOOL_CALLS: "tool_calls",
        StopReason.CONTENT_FILTER: "content_filter",
        StopReason.BUDGET: "length",
    }
)


def render_answer(
    request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
) -> bytes:
    """Return the body of a whole answer; a choice without text and with calls has null content."""
    is_legacy = answers_with_functions(request)
    choices = [_Choice(is_legacy=is_legacy) for _ in range(request.n)]
    for event in events:
        match event:
            case ThinkingDelta(choice=choice, text=text):
                choices[choice].thoughts.append(text)
            case TextDelta(choice=choice, text=text):
                choices[choice].texts.append(text)
                choices[choice].odds += event.odds
            case ToolCallStarted(choice=choice):
                choices[choice].calls.append((event, []))
            case ToolCallDelta(choice=choice, index=index, arguments=arguments):
                choices[choice].calls[index][1].append(arguments)
            case ChoiceFinished(choice=choice, reason=reason):
                choices[choice].reason = reason
            case _:
                pass
    return b"".join(
        (
            b'{"id":',
            dump_text(answer.completion_id),
            b',"object":"chat.completion","created":%d,"model":' % answer.created,
            dump_text(answer.model),
            b',"system_fingerprint":',
            dump_text(answer.fingerprint),
            b',"choices":[',
            b",".join(choice.render(index) for index, choice in enumerate(choices)),
            b'],"usage":',
            orjson.dumps({**render_usage(receipt.usage), **receipt.fields()}),
            b"}",
        )
    )


class _Choice:
    """What the events of one choice add up to."""

    __slots__ = ("calls", "is_legacy", "odds", "reason", "texts", "thoughts")

    def __init__(self, *, is_legacy: bool) -> None:
        self.is_legacy = is_legacy
        self.odds: list[TokenOdds] = []
        self.thoughts: list[str] = []
        self.texts: list[str] = []
        self.calls: list[tuple[ToolCallStarted, list[str]]] = []
        self.reason = StopReason.END

    def render(self, index: int) -> bytes:
        is_silent = not self.texts and (self.calls or self.reason is StopReason.TOOL_CALLS)
        content = b"null" if is_silent else dump_text("".join(self.texts))
        return b"".join(
            (
                b'{"index":%d,"message":{"role":"assistant","content":' % index,
                content,
                b',"refusal":null',
                b',"reasoning_content":' + dump_text("".join(self.thoughts))
                if self.thoughts
                else b"",
                self._render_calls() if self.calls else b"",
                b'},"logprobs":' + render_odds(self.odds),
                b',"finish_reason":"' + finish_reason(self.reason, is_legacy=self.is_legacy),
                b'"}',
            )
        )

    def _render_calls(self) -> bytes:
        if self.is_legacy:
            return b',"function_call":' + _render_function(*self.calls[0])
        calls = b",".join(_render_call(start, pieces) for start, pieces in self.calls)
        return b',"tool_calls":[' + calls + b"]"


def finish_reason(reason: StopReason, *, is_legacy: bool) -> bytes:
    """Return the word for why a choice ended; an old function call has its own."""
    if is_legacy and reason is StopReason.TOOL_CALLS:
        return b"function_call"
    return FINISH_REASONS[reason].encode()


def _render_call(start: ToolCallStarted, pieces: list[str]) -> bytes:
    function = _render_function(start, pieces)
    return b'{"id":%b,"type":"function","function":%b}' % (dump_text(start.call_id), function)


def _render_function(start: ToolCallStarted, pieces: list[str]) -> bytes:
    return b'{"name":%b,"arguments":%b}' % (dump_text(start.name), dump_text("".join(pieces)))


def render_models(models: Iterable[ListedModel]) -> bytes:
    """Return the list of models."""
    return orjson.dumps({"object": "list", "data": [_model(model) for model in models]})


def render_model(model: ListedModel) -> bytes:
    """Return one model."""
    return orjson.dumps(_model(model))


def _model(model: ListedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "context_length": model.context_tokens,
        "top_provider": {
            "context_length": model.context_tokens,
            "max_completion_tokens": model.max_output_tokens,
        },
        "pricing": render_pricing(model),
        "x_tollgate": render_offer(model),
    }

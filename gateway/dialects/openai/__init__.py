"""OpenAI's chat completions: the dialect of ``/v1``, ``/api/v1`` and ``/api``."""

from collections.abc import Iterable, Mapping
from typing import Any

from billing.usage import Usage
from gateway.chat import Answer, ChatRequest, StreamEvent
from gateway.dialects.base import Dialect, Envelope, StreamRenderer
from gateway.dialects.openai.errors import render_error
from gateway.dialects.openai.requests import check_request, read_body
from gateway.dialects.openai.responses import render_answer, render_models
from gateway.dialects.openai.stream import OpenAIStream
from kernel.errors import TollgateError


class OpenAIDialect:
    """Implements ``Dialect`` by handing on to the modules beside it."""

    name = "openai"

    def read_body(self, body: bytes) -> Envelope:
        return read_body(body)

    def check_request(
        self, envelope: Envelope, *, max_output_tokens: int, context_tokens: int
    ) -> ChatRequest:
        return check_request(
            envelope, max_output_tokens=max_output_tokens, context_tokens=context_tokens
        )

    def render_answer(
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], usage: Usage
    ) -> bytes:
        return render_answer(request, answer, events, usage)

    def open_stream(self, request: ChatRequest, answer: Answer) -> StreamRenderer:
        return OpenAIStream(request, answer)

    def render_error(self, error: TollgateError, request_id: str) -> bytes:  # the header says it
        return render_error(error)

    def render_models(self, models: Iterable[Mapping[str, Any]]) -> bytes:
        return render_models(models)


DIALECT: Dialect = OpenAIDialect()

"""OpenAI's responses: a third wire over the same neutral types. Nothing is stored behind it.

No upstream is asked in this wire: every one is asked in its own, and answers in events.
"""

from collections.abc import Iterable

from gateway.chat import Answer, ChatRequest, StreamEvent
from gateway.dialects.base import Dialect, Envelope, StreamRenderer
from gateway.dialects.openai import OpenAIDialect
from gateway.dialects.receipts import Receipt
from gateway.dialects.responses import answers, requests
from gateway.dialects.responses.answers import render_count
from gateway.dialects.responses.stream import ResponsesStream

__all__ = ["DIALECT", "ResponsesDialect", "render_count"]


class ResponsesDialect(OpenAIDialect):
    """Implements ``Dialect``; lists, headers and errors are those of the house's other wire."""

    name = "responses"
    endpoint = "responses"
    id_prefix = "resp_"
    prompt = "input"

    def read_body(self, body: bytes) -> Envelope:
        return requests.read_body(body)

    def check_request(
        self, envelope: Envelope, *, max_output_tokens: int, context_tokens: int
    ) -> ChatRequest:
        return requests.check_request(
            envelope, max_output_tokens=max_output_tokens, context_tokens=context_tokens
        )

    def render_answer(
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
    ) -> bytes:
        return answers.render_answer(request, answer, events, receipt)

    def open_stream(self, request: ChatRequest, answer: Answer) -> StreamRenderer:
        return ResponsesStream(request, answer)


DIALECT: Dialect = ResponsesDialect()

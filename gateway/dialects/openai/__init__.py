"""OpenAI's chat completions and embeddings: the dialect of ``/v1``, ``/api/v1`` and ``/api``."""

from collections.abc import Iterable, Sequence

from gateway.chat import Answer, ChatRequest, StreamEvent
from gateway.dialects.base import (
    Dialect,
    Envelope,
    ListedModel,
    PassThrough,
    PatchedAnswer,
    StreamRenderer,
)
from gateway.dialects.openai import embeddings
from gateway.dialects.openai.errors import render_error
from gateway.dialects.openai.passthrough import PassThroughStream
from gateway.dialects.openai.requests import check_request, read_body
from gateway.dialects.openai.responses import render_answer, render_model, render_models
from gateway.dialects.openai.stream import OpenAIStream
from gateway.dialects.openai.whole import patch_answer
from gateway.dialects.rate_headers import Headers, RateStandings, x_ratelimit_headers
from gateway.dialects.receipts import Receipt
from kernel.errors import TollgateError


class OpenAIDialect:
    """Implements ``Dialect`` by handing on to the modules beside it.

    ``prompt`` is the field that holds it.
    """

    name = "openai"
    endpoint = "chat.completions"
    id_prefix = "chatcmpl-"
    prefers_x_api_key = False
    keep_alive = b": keep-alive\n\n"
    prompt = "messages"

    def read_body(self, body: bytes) -> Envelope:
        return read_body(body)

    def check_request(
        self, envelope: Envelope, *, max_output_tokens: int, context_tokens: int
    ) -> ChatRequest:
        return check_request(
            envelope, max_output_tokens=max_output_tokens, context_tokens=context_tokens
        )

    def render_answer(
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
    ) -> bytes:
        return render_answer(request, answer, events, receipt)

    def open_stream(self, request: ChatRequest, answer: Answer) -> StreamRenderer:
        return OpenAIStream(request, answer)

    def open_pass_through(self, request: ChatRequest, answer: Answer) -> PassThrough:
        return PassThroughStream(request, answer)

    def patch_answer(self, body: bytes, request: ChatRequest, answer: Answer) -> PatchedAnswer:
        return patch_answer(body, answer)

    def error_status(self, error: TollgateError) -> int:
        return error.http_status

    def render_error(self, error: TollgateError, request_id: str) -> bytes:  # the header says it
        return render_error(error, self.prompt)

    def rate_headers(self, standings: RateStandings) -> Headers:
        return x_ratelimit_headers(standings)

    def render_models(self, models: Sequence[ListedModel], query: bytes) -> bytes:
        return render_models(models)  # the whole list, whatever the query

    def render_model(self, model: ListedModel) -> bytes:
        return render_model(model)


class EmbeddingsDialect(OpenAIDialect):
    """The same wire's embeddings: never streamed."""

    endpoint = "embeddings"
    prompt = "input"

    def read_body(self, body: bytes) -> Envelope:
        return embeddings.read_body(body)

    def check_request(
        self, envelope: Envelope, *, max_output_tokens: int, context_tokens: int
    ) -> ChatRequest:
        return embeddings.check_request(envelope, context_tokens=context_tokens)

    def render_answer(
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
    ) -> bytes:
        return embeddings.render_answer(request, answer, events, receipt)

    def patch_answer(self, body: bytes, request: ChatRequest, answer: Answer) -> PatchedAnswer:
        return embeddings.patch_answer(body, request, answer)


DIALECT: Dialect = OpenAIDialect()
EMBEDDINGS: Dialect = EmbeddingsDialect()

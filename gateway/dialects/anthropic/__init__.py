"""Anthropic's messages: the dialect of ``/anthropic/v1``."""

from collections.abc import Iterable, Sequence

from gateway.chat import Answer, ChatRequest, StreamEvent
from gateway.dialects.anthropic import errors, models, requests, responses
from gateway.dialects.anthropic.passthrough import PassThroughStream, patch_answer
from gateway.dialects.anthropic.responses import render_count
from gateway.dialects.anthropic.stream import PING, AnthropicStream
from gateway.dialects.base import (
    Dialect,
    Envelope,
    ListedModel,
    PassThrough,
    PatchedAnswer,
    StreamRenderer,
)
from gateway.dialects.rate_headers import (
    Headers,
    RateStandings,
    anthropic_ratelimit_headers,
    x_ratelimit_headers,
)
from gateway.dialects.receipts import Receipt
from kernel import clock
from kernel.errors import TollgateError

__all__ = ["COUNTING", "DIALECT", "AnthropicDialect", "render_count"]


class AnthropicDialect:
    """Implements ``Dialect`` by handing on to the modules beside it.

    ``needs_limit`` is false where a prompt is only counted: then ``max_tokens`` may be missing.
    """

    name = "anthropic"
    endpoint = "messages"
    id_prefix = "msg_"
    prefers_x_api_key = True
    keep_alive = PING

    def __init__(self, *, needs_limit: bool = True) -> None:
        self._needs_limit = needs_limit

    def read_body(self, body: bytes) -> Envelope:
        return requests.read_body(body)

    def check_request(
        self, envelope: Envelope, *, max_output_tokens: int, context_tokens: int
    ) -> ChatRequest:
        return requests.check_request(
            envelope,
            max_output_tokens=max_output_tokens,
            context_tokens=context_tokens,
            needs_limit=self._needs_limit,
        )

    def render_answer(
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
    ) -> bytes:
        return responses.render_answer(answer, events, receipt)

    def open_stream(self, request: ChatRequest, answer: Answer) -> StreamRenderer:
        return AnthropicStream(answer)

    def open_pass_through(self, request: ChatRequest, answer: Answer) -> PassThrough:
        return PassThroughStream(answer)

    def patch_answer(self, body: bytes, request: ChatRequest, answer: Answer) -> PatchedAnswer:
        return patch_answer(body, answer)

    def error_status(self, error: TollgateError) -> int:
        return errors.error_status(error)

    def render_error(self, error: TollgateError, request_id: str) -> bytes:
        return errors.render_error(error, request_id)

    def rate_headers(self, standings: RateStandings) -> Headers:
        return [
            *x_ratelimit_headers(standings),
            *anthropic_ratelimit_headers(standings, clock.now()),
        ]

    def render_models(self, listed: Sequence[ListedModel], query: bytes) -> bytes:
        return models.render_models(listed, query)

    def render_model(self, model: ListedModel) -> bytes:
        return models.render_model(model)


DIALECT: Dialect = AnthropicDialect()
COUNTING: Dialect = AnthropicDialect(needs_limit=False)

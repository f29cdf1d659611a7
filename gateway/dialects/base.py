"""What the pipeline asks of a dialect. Two real implementations stand behind it in the end."""

from collections.abc import Iterable
from typing import Any, Protocol

from billing.usage import Usage
from gateway.chat import Answer, ChatRequest, StreamEvent
from kernel.errors import TollgateError


class StreamRenderer(Protocol):
    """Turns stream events into the wire's frames. Holds what the dialect must remember."""

    def render(self, events: Iterable[StreamEvent]) -> bytes:
        """Return the frames of these events, possibly empty."""
        ...

    def finish(self) -> bytes:
        """Return the closing frames of a stream that ended well."""
        ...

    def fail(self, error: TollgateError) -> bytes:
        """Return the closing frames of a stream that broke after its first byte."""
        ...


class Dialect(Protocol):
    """A wire format: parsing of requests, rendering of answers, streams and errors."""

    name: str

    def parse_request(self, body: bytes) -> ChatRequest:
        """Read and check a body.

        Raises:
            BadRequestError: with ``param`` and ``code`` of the contract.

        """
        ...

    def render_answer(
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], usage: Usage
    ) -> bytes:
        """Return the whole body of an answer that is not streamed."""
        ...

    def open_stream(self, request: ChatRequest, answer: Answer) -> StreamRenderer:
        """Return the renderer of one streamed answer."""
        ...

    def render_error(self, error: TollgateError, request_id: str) -> bytes:
        """Return the body of an error."""
        ...

    def render_models(self, models: Iterable[dict[str, Any]]) -> bytes:
        """Return the list of models."""
        ...

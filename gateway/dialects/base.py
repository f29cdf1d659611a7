"""What the pipeline asks of a dialect. Two real implementations stand behind it in the end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from billing.usage import Usage
from gateway.chat import Answer, ChatRequest, StreamEvent
from kernel.errors import TollgateError


@dataclass(frozen=True, slots=True)
class Envelope:
    """A body that could be read: which model it asks for; the rest is not checked yet.

    ``wire`` is the parsed body; ``messages`` in it is known to be a list with something in it.
    """

    model: str
    wire: Mapping[str, Any]


class StreamRenderer(Protocol):
    """Turns stream events into the wire's frames. Holds what the dialect must remember."""

    def render(self, events: Iterable[StreamEvent]) -> bytes:
        """Return the frames of these events, possibly empty."""
        ...

    def cut_off(self) -> bytes:
        """Return the last chunk of an only choice that no money is left for."""
        ...

    def finish(self, usage: Usage) -> bytes:
        """Return the closing frames of a stream that ended well."""
        ...

    def fail(self, error: TollgateError) -> bytes:
        """Return the closing frames of a stream that broke after its first byte."""
        ...


class Dialect(Protocol):
    """A wire format: parsing of requests, rendering of answers, streams and errors."""

    name: str

    def read_body(self, body: bytes) -> Envelope:
        """Read a body as far as naming its model: the checks that come before the model's own.

        Raises:
            BadRequestError: no JSON object, no model, no messages.

        """
        ...

    def check_request(
        self, envelope: Envelope, *, max_output_tokens: int, context_tokens: int
    ) -> ChatRequest:
        """Check every parameter and message against the contract and the model's limits.

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

    def render_models(self, models: Iterable[Mapping[str, Any]]) -> bytes:
        """Return the list of models."""
        ...

"""What the pipeline asks of a dialect. Two real implementations stand behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from accounts.principal import RateLimits
from billing.pricing import Price
from billing.usage import Usage
from gateway.chat import Answer, ChatRequest, StopReason, StreamEvent
from gateway.dialects.rate_headers import Headers, RateStandings
from gateway.dialects.receipts import Receipt
from kernel.errors import TollgateError


class Envelope(NamedTuple):
    """A body that could be read: which model it asks for; the rest is not checked yet.

    ``wire`` is the parsed body; ``messages`` in it is known to be a list with something in it.
    ``fallbacks`` are the models to be asked next, where no provider of the one before is willing.
    """

    model: str
    wire: Mapping[str, Any]
    fallbacks: tuple[str, ...] = ()

    def for_each_model(self) -> "tuple[Envelope, ...]":
        """Return the same body once for each model it may be answered by."""
        return tuple(Envelope(name, self.wire) for name in (self.model, *self.fallbacks))


class StreamRenderer(Protocol):
    """Turns stream events into the wire's frames. Holds what the dialect must remember."""

    def render(self, events: Iterable[StreamEvent]) -> bytes:
        """Return the frames of these events, possibly empty."""
        ...

    def cut_off(self, reason: StopReason = StopReason.BUDGET) -> bytes:
        """Return the last chunks of choices that may write no more."""
        ...

    def finish(self, receipt: Receipt) -> bytes:
        """Return the closing frames of a stream that ended well."""
        ...

    def fail(self, error: TollgateError) -> bytes:
        """Return the closing frames of a stream that broke after its first byte."""
        ...


@dataclass(frozen=True, slots=True)
class CutFrames:
    """The frames that stay, and the tokens of those that were cut away, by our own count."""

    frames: bytes
    cut_tokens: int


class PassThrough(Protocol):
    """One streamed answer of an upstream that speaks the caller's dialect, on its way through.

    ``usage`` and ``is_done`` fill as it goes; ``uncounted_tokens`` are those relayed since the last
    count, by our own tokenizer. ``fault`` is an error in mid-stream, or what is wrong with what is
    no answer: it ends the stream once the frames that came before have gone out.
    """

    usage: Usage | None
    is_done: bool
    fault: TollgateError | None

    @property
    def uncounted_tokens(self) -> int: ...

    def feed(self, data: bytes) -> bytes:
        """Take what arrived and return the frames that may go out now; maybe nothing."""
        ...

    def count_relayed(self) -> int:
        """Return ``uncounted_tokens``, and count from there."""
        ...

    def cut(self, frames: bytes, excess: int) -> CutFrames:
        """Cut whole frames from the end until ``excess`` tokens are gone, or nothing is left."""
        ...

    def cut_off(self, receipt: Receipt, reason: StopReason = StopReason.BUDGET) -> bytes:
        """Return the closing frames of an answer that may get no longer."""
        ...

    def finish(self, receipt: Receipt) -> bytes:
        """Return the closing frames, which were kept back until the call is in the journal."""
        ...


class PatchedAnswer(Protocol):
    """A whole answer under our id and model, and the provider's figures where it gave any."""

    @property
    def usage(self) -> Usage | None: ...

    def render(self, receipt: Receipt) -> bytes:
        """Return the body, with what the call came to in its usage object."""
        ...

    def count(self) -> int:
        """Return our own count of the tokens in it."""
        ...


class ListedModel(Protocol):
    """A public model as lists show it. ``created`` is Unix seconds."""

    @property
    def name(self) -> str: ...

    @property
    def owned_by(self) -> str: ...

    @property
    def created(self) -> int: ...

    @property
    def context_tokens(self) -> int: ...

    @property
    def max_output_tokens(self) -> int: ...

    @property
    def price(self) -> Price | None:
        """What this caller pays."""
        ...

    @property
    def limits(self) -> RateLimits:
        """What the caller's organization may ask of it."""
        ...


class Dialect(Protocol):
    """A wire format: parsing of requests, rendering of answers, streams and errors.

    ``endpoint`` names its completions, whatever the alias; ``id_prefix`` begins an answer's id;
    ``prefers_x_api_key`` says which of two different keys counts; ``keep_alive`` is a frame that
    may stand before and between all others and means nothing.
    """

    name: str
    endpoint: str
    id_prefix: str
    prefers_x_api_key: bool
    keep_alive: bytes

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
        self, request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
    ) -> bytes:
        """Return the whole body of an answer that is not streamed."""
        ...

    def open_stream(self, request: ChatRequest, answer: Answer) -> StreamRenderer:
        """Return the renderer of one streamed answer."""
        ...

    def open_pass_through(self, request: ChatRequest, answer: Answer) -> PassThrough:
        """Return the patcher of one streamed answer that is in this dialect already."""
        ...

    def patch_answer(self, body: bytes, request: ChatRequest, answer: Answer) -> PatchedAnswer:
        """Read and patch a whole answer that is in this dialect already.

        Raises:
            UpstreamError: for what is no answer.

        """
        ...

    def error_status(self, error: TollgateError) -> int:
        """Return the HTTP status of an error."""
        ...

    def render_error(self, error: TollgateError, request_id: str) -> bytes:
        """Return the body of an error."""
        ...

    def rate_headers(self, standings: RateStandings) -> Headers:
        """Return the headers that say how the binding rate limits stand."""
        ...

    def render_models(self, models: Sequence[ListedModel], query: bytes) -> bytes:
        """Return the list of models, or the page of it that the query string asks for.

        Raises:
            BadRequestError: for a page that does not exist.

        """
        ...

    def render_model(self, model: ListedModel) -> bytes:
        """Return one model."""
        ...

"""What the pipeline asks of a provider."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from gateway.catalog import Deployment
from gateway.chat import ChatRequest, StreamEvent


class EventUpstream(Protocol):
    """An opened answer in neutral events: the pipeline renders the caller's dialect."""

    speaks_events: Literal[True]

    def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """Yield events as they are made, several at a time where they come together."""
        ...

    async def aclose(self) -> None:
        """Stop the work behind it. May be called at any time, and twice."""
        ...


class ByteUpstream(Protocol):
    """An opened answer in the caller's own dialect: its bytes pass through."""

    speaks_events: Literal[False]

    def take_whole(self) -> bytes | None:
        """Return all of a body that has arrived already; None where there is more to wait for."""
        ...

    async def read(self) -> bytes:
        """Return what has arrived of the body, empty at its end."""
        ...

    async def aclose(self) -> None: ...


Upstream = EventUpstream | ByteUpstream


class Provider(Protocol):
    """A kind of provider. ``dialect`` names the wire it speaks."""

    dialect: str

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> Upstream:
        """Send the request and return its answer once it has begun.

        Raises:
            UpstreamError, UpstreamTimeoutError, UnavailableError, BadRequestError: in the
            platform's
                words; an upstream's own refusals of our key or quota never reach the caller as
                such.

        """
        ...

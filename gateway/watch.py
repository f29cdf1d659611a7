"""The watch over an upstream that answers: nobody waits for ever, and a quiet stream shows life.

1. It begins when an upstream has answered with a good status. Before that nothing is sent: the
   first byte commits the status, so until then a call may fail over, or fail with a plain error.
2. One timer runs, not one a chunk; for a stream it looks at what call and meter know anyway.
3. A streaming caller who has heard nothing for a while gets a keep-alive of its dialect.
4. Past the time for the first token, for the next one, or for the whole call, the reading ends with
   ``UpstreamTimeoutError``. Time in which the caller did not take what we had is not the
   upstream's; ``gateway.connection`` ends such callers.
"""

import asyncio
from types import TracebackType
from typing import NamedTuple

from gateway.call import Call
from gateway.metering import Meter
from kernel import clock
from kernel.deadlines import Alarm, Deadline, ring_in
from kernel.errors import UpstreamTimeoutError


class Patience(NamedTuple):
    """How long a call waits, in seconds. ``asked_at`` is the monotonic time of its upstream's call.

    ``stall_s`` is the longest pause between two tokens of a stream, ``total_s`` what one provider
    may take, ``call_s`` what the whole call may, with everybody it asks.
    """

    asked_at: float
    first_token_s: int
    stall_s: int
    keep_alive_s: int
    total_s: int
    call_s: int


class Watch:
    """Watches one answer while it is entered; ``note`` tells it of tokens that have come.

    Leaving raises ``UpstreamTimeoutError`` when the time for the next thing has passed.
    """

    __slots__ = (
        "_alarm",
        "_call",
        "_ends_at",
        "_limit",
        "_meter",
        "_patience",
        "_ping",
        "_streams",
        "_token_at",
        "_tokens",
        "_why",
    )

    def __init__(self, call: Call, meter: Meter, patience: Patience, *, streams: bool) -> None:
        self._call = call
        self._meter = meter
        self._patience = patience
        self._streams = streams
        self._tokens = 0
        self._token_at = patience.asked_at
        self._alarm: Alarm | None = None
        self._limit = Deadline(None)
        self._ping: asyncio.Task[None] | None = None
        self._why = ""
        self._ends_at = min(call.started_at + patience.call_s, patience.asked_at + patience.total_s)

    def note(self) -> None:
        """Take notice of what the meter has counted by now."""
        if self._meter.output_tokens != self._tokens:
            self._tokens = self._meter.output_tokens
            self._token_at = clock.monotonic()

    def __enter__(self) -> None:
        self._limit.__enter__()
        self._look()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self._ping is not None:
            self._ping.cancel()
        try:
            self._limit.__exit__(kind, error, trace)
        except TimeoutError as timeout:
            raise UpstreamTimeoutError(self._why) from timeout

    def _look(self) -> None:
        now = clock.monotonic()
        next_s = self._ends_at - now
        if next_s <= 0:
            self._end(self._why_over())
            return
        if self._streams:
            # a phase that begins after this look cannot end before the shortest of its times
            wait = self._patience
            next_s = min(next_s, wait.first_token_s, wait.stall_s, wait.keep_alive_s)
            if not self._call.is_sending:
                token_left_s = self._token_left_s(now)
                if token_left_s <= 0:
                    self._end("The model's provider stopped answering.")
                    return
                next_s = min(next_s, token_left_s, self._keep_alive_left_s(now))
        self._alarm = ring_in(next_s, self._look)

    def _end(self, why: str) -> None:
        self._why = why
        self._limit.end()

    def _why_over(self) -> str:
        wait = self._patience
        if self._call.started_at + wait.call_s <= self._ends_at:
            return f"The call took longer than {wait.call_s} s, the most a call may take."
        return f"The model's provider took longer than {wait.total_s} s."

    def _token_left_s(self, now: float) -> float:
        if not self._tokens:
            return self._patience.first_token_s - (now - self._patience.asked_at)
        # while a slow caller held us up, the upstream could not be heard
        heard_at = max(self._token_at, self._call.held_up_until)
        return self._patience.stall_s - (now - heard_at)

    def _keep_alive_left_s(self, now: float) -> float:
        """Return when the next keep-alive is due; send it where that is now."""
        heard_at = max(self._call.sent_at, self._patience.asked_at)
        left_s = self._patience.keep_alive_s - (now - heard_at)
        if left_s > 0:
            return left_s
        if self._ping is None or self._ping.done():
            self._ping = asyncio.ensure_future(self._call.keep_alive())
        return self._patience.keep_alive_s

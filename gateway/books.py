"""The books of a process as a call sees them: open, hold, checkpoint, close.

The order is the promise: the journal hears of a hold before the database does, by the writer, and
of an ending before the caller does.
"""

import asyncio

from billing.holds import Act, Closing, HoldRequest, Refusal
from billing.journal import Journal
from billing.writer import Writer
from kernel import failpoints
from kernel.deadlines import Line
from kernel.errors import UnavailableError

MOST_BACKLOG = 5_000


class Books:
    """Journal and writer of one process."""

    def __init__(self, journal: Journal, writer: Writer, *, hold_wait_s: float) -> None:
        self.journal = journal
        self.writer = writer
        self._line: Line[Refusal | None] = Line(hold_wait_s, Refusal("unavailable", {}))

    async def hold(self, request: HoldRequest) -> None:
        """Set the money of a call aside.

        Raises:
            TollgateError: what the refusal says; UnavailableError when the books do not answer in
                time. Then nothing stays held: a hold granted too late is released at once.

        """
        if self.writer.backlog > MOST_BACKLOG:
            raise _unavailable()
        answer = self.writer.hold(request)
        self._line.add(answer)
        try:
            refusal = await answer
        except asyncio.CancelledError:
            self._give_up(request.request_id)
            raise
        if refusal is None:
            return
        if refusal.why == "unavailable":
            self._give_up(request.request_id)
            raise _unavailable()
        raise refusal.as_error()

    def _give_up(self, request_id: str) -> None:
        """Release a hold that may or may not be there; the journal owes it until that is written.

        A hold still in the queue is dropped there, since it has been answered.
        """
        self.writer.close(Closing(request_id, Act.RELEASE))

    def checkpoint(self, closing: Closing) -> None:
        self.journal.checkpoint(closing)
        failpoints.reach("after_checkpoint")

    def close(self, closing: Closing) -> None:
        """Journal how a call ended and queue it for the writer. Never waits, never raises."""
        failpoints.reach("before_final")
        self.journal.close_call(closing)
        failpoints.reach("after_final_before_last_frame")
        self.writer.close(closing)

    def release(self, request_id: str) -> None:
        """Give a call's money back: nothing was relayed."""
        self.close(Closing(request_id, Act.RELEASE))


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "The platform cannot reserve money for this request at the moment; try again shortly.",
        headers={"retry-after": "1"},
    )

"""Tranches: a stream's hold grows ahead of what it writes, so that long limits tie up little money.

1. The first hold covers the prompt and 1,024 tokens of output, or fewer where the call may not
   write more. Where nothing can be seen before the end, or there are several choices, it covers
   all.
2. From half of a tranche on, the next one is asked for while the stream goes on.
3. ``cover`` makes sure that what is about to be relayed is held for. Where an account or a budget
   has no more room, the answer is no for good, and the stream ends cleanly at what is covered.
"""

import asyncio

from billing.holds import Extension
from billing.pricing import Price
from billing.writer import Writer

TRANCHE_TOKENS = 1024
ANSWER_S = 2.0


class Tranches:
    """The output tokens one stream's hold of ``held_nanos`` covers, up to ``most``."""

    __slots__ = (
        "_asked",
        "_asked_nanos",
        "_pending",
        "_price",
        "_request_id",
        "_writer",
        "covered",
        "held_nanos",
        "is_refused",
        "most",
    )

    def __init__(
        self,
        writer: Writer,
        request_id: str,
        price: Price,
        *,
        held_nanos: int,
        covered: int,
        most: int,
    ) -> None:
        self.held_nanos = held_nanos
        self.covered = covered
        self.most = most
        self.is_refused = False
        self._writer = writer
        self._request_id = request_id
        self._price = price
        self._pending: asyncio.Future[bool] | None = None
        self._asked = 0
        self._asked_nanos = 0

    def is_tight(self, used: int) -> bool:
        """Tell whether half of the current tranche is used and more may come."""
        return self.covered < self.most and used > self.covered - TRANCHE_TOKENS // 2

    def extend_ahead(self, used: int) -> None:
        """Ask for the next tranche where it is due; never waits."""
        self._take_answer()
        if self._pending is not None or self.is_refused or not self.is_tight(used):
            return
        self._asked = min(TRANCHE_TOKENS, self.most - self.covered)
        self._asked_nanos = self._price.output_ceiling(self._asked)
        self._pending = self._writer.extend(
            Extension(self._request_id, self._asked_nanos, self._asked)
        )

    async def cover(self, used: int) -> bool:
        """Tell whether ``used`` tokens are held for, waiting for an answer that is on its way.

        A writer that does not answer within two seconds counts as a refusal: money fails closed.
        """
        while used > self.covered and self.covered < self.most and not self.is_refused:
            self.extend_ahead(used)
            await self._await_answer()
        return used <= self.covered or self.covered >= self.most

    async def await_more(self) -> int:
        """Return how much is held once an answer on its way has come."""
        await self._await_answer()
        return self.held_nanos

    async def _await_answer(self) -> None:
        if self._pending is not None:
            await asyncio.wait([self._pending], timeout=ANSWER_S)
            if not self._pending.done():
                self._pending.cancel()
            self._take_answer()

    def _take_answer(self) -> None:
        pending = self._pending
        if pending is None or not pending.done():
            return
        self._pending = None
        if not pending.cancelled() and pending.result():
            self.covered += self._asked
            self.held_nanos += self._asked_nanos
        else:
            self.is_refused = True

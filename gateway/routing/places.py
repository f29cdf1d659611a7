"""Places at a provider: how many calls of this process it serves at once."""

import asyncio
from collections import deque

from kernel.deadlines import Deadline
from kernel.loops import running_loop

WAIT_S = 0.25


class Places:
    """Taken before a provider is asked, given back when its answer has ended.

    Who waits is let in by order of coming; a place that is given passes straight to the first.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, most: int | None, *, wait_s: float = WAIT_S) -> bool:
        """Take a place, or wait shortly for one; False where none came free."""
        if most is None or self.taken < most:
            self.taken += 1
            return True
        turn: asyncio.Future[None] = running_loop().create_future()
        self._waiting.append(turn)
        try:
            with Deadline(wait_s):
                await turn
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def give(self) -> None:
        """Pass a place on, or free it."""
        assert self.taken > 0, "a place is given once"
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1

    def _leave(self, turn: "asyncio.Future[None]") -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():
            self.give()  # it came in the moment we left

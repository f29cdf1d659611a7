"""How far an api process's event loop is behind: the sign that it has taken on too much.

A timer that should fire every tenth of a second fires late by as long as the loop was kept from it.
One stall is no overload, so the measure halves its memory with each look: a loop is behind when it
was stalled for long, or again and again.
"""

import asyncio

LOOK_S = 0.1


class LoopLag:
    """Looks from ``start`` to ``stop``. ``average_s`` is in seconds; ``most_s`` is too much."""

    def __init__(self, most_s: float) -> None:
        self.average_s = 0.0
        self._most_s = most_s
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_too_much(self) -> bool:
        return self.average_s > self._most_s

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_at = loop.time() + LOOK_S
        self._timer = loop.call_at(self._due_at, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def note(self, late_s: float) -> None:
        self.average_s = (self.average_s + late_s) / 2

    def _look(self) -> None:
        self.note(asyncio.get_running_loop().time() - self._due_at)
        self.start()

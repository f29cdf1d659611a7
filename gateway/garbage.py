"""Garbage collection that does not stop a process full of streams.

Python's full collection walks every object that lives. With 5,000 streams open that took 0.3 to
2.4 s, every two seconds while they were opened, and found next to nothing: what calls leave is
freed by its reference counts. In that time nobody is served and holds run out of time. So:

1. What start-up made is never walked again.
2. Young objects are collected often, in passes of a few milliseconds.
3. A full collection waits for a moment with few open calls, half an hour at most.
"""

import gc
from collections.abc import Callable

from kernel import clock

YOUNG, MIDDLE, NEVER = 25_000, 10, 1_000_000
FEW_CALLS = 100
PAUSE_S = 60.0
MOST_WAIT_S = 1800.0


class Collector:
    """The process's collector from ``start`` to ``stop``, which puts things back."""

    def __init__(self, open_calls: Callable[[], int]) -> None:
        self._open_calls = open_calls
        self._collected_at = clock.monotonic()
        self._thresholds = gc.get_threshold()

    def start(self) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)

    def stop(self) -> None:
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    async def collect(self) -> None:
        """Collect everything where few calls would notice, or where it has waited too long."""
        has_waited = clock.monotonic() - self._collected_at > MOST_WAIT_S
        if has_waited or self._open_calls() <= FEW_CALLS:
            gc.collect()
            self._collected_at = clock.monotonic()

"""Deadlines that are hardly ever reached, for waits that thousands of calls a second begin and end.

asyncio takes 2 µs for a timer that is cancelled and 5 for a timeout that is left in time, and a
call has eight of them. Here those that end within the same moment share one timer of the event
loop, and to end one is to take it out of a set. They are late by a 64th of a second or of their
length at the most, whichever is more, and never early: so there are a few hundred moments ahead,
however many waits begin and end and however long they may be.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from kernel.loops import running_loop

GRAINS_A_SECOND = 64
T = TypeVar("T")


class Alarm:
    """Calls back once, unless it is cancelled before.

    It lets go of the callback then: whoever owns both would else be garbage for the collector.
    """

    __slots__ = ("_bucket", "_callback")

    def __init__(self, bucket: "set[Alarm]", callback: Callable[[], object]) -> None:
        self._bucket = bucket
        self._callback: Callable[[], object] | None = callback
        bucket.add(self)

    def cancel(self) -> None:
        self._bucket.discard(self)
        self._callback = None

    def ring(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class _Wheel:
    """The alarms of one event loop, by the moment in which they ring."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._buckets: dict[int, set[Alarm]] = {}
        self._moments: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0

    def add(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        grains = int((self.loop.time() + seconds) * GRAINS_A_SECOND)
        coarser = max(0, int(seconds).bit_length() - 2)
        moment = ((grains >> coarser) + 1) << coarser
        bucket = self._buckets.get(moment)
        if bucket is None:
            bucket = self._buckets[moment] = set()
            heapq.heappush(self._moments, moment)
            if self._timer is None or moment < self._rings_at:
                self._set_timer()
        return Alarm(bucket, callback)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._moments[0]
        self._timer = self.loop.call_at(self._rings_at / GRAINS_A_SECOND, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self.loop.time() * GRAINS_A_SECOND
        while self._moments and self._moments[0] <= now:
            bucket = self._buckets.pop(heapq.heappop(self._moments))
            while bucket:
                self._call(bucket.pop())
        if self._moments:
            self._set_timer()

    def _call(self, alarm: Alarm) -> None:
        """Ring at once: a turn later it might have been cancelled."""
        try:
            alarm.ring()
        except Exception as error:  # noqa: BLE001 # as an event loop does with its callbacks
            self.loop.call_exception_handler({"message": "an alarm failed", "exception": error})


class Deadline:
    """``with Deadline(seconds):`` is ``async with asyncio.timeout(seconds):``.

    Without seconds it ends by ``end`` alone.

    Raises:
        TimeoutError: at its end, when the time ran out inside.

    """

    __slots__ = ("_alarm", "_cancels", "_is_over", "_seconds", "_task")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        wheel = _running_wheel()
        task = asyncio.current_task(wheel.loop)
        assert task is not None, "used in a task"
        self._task = task
        self._cancels = task.cancelling()
        self._is_over = False
        self._alarm = None if self._seconds is None else wheel.add(self._seconds, self.end)

    def end(self) -> None:
        """Let the time be over."""
        if not self._is_over:
            self._is_over = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if not self._is_over:
            return
        was_cancelled_too = self._task.uncancel() > self._cancels
        if kind is asyncio.CancelledError and not was_cancelled_too:
            raise TimeoutError from error


class Line(Generic[T]):
    """Futures that all wait equally long, in one event loop: one alarm is enough for them.

    What is not done in time has ``answer`` for its result.
    """

    def __init__(self, seconds: float, answer: T) -> None:
        self._seconds = seconds
        self._answer = answer
        self._waiting: deque[tuple[float, asyncio.Future[T]]] = deque()
        self._alarm: Alarm | None = None

    def add(self, future: asyncio.Future[T]) -> None:
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((future.get_loop().time() + self._seconds, future))
        if self._alarm is None:
            self._alarm = ring_in(self._seconds, self._look)

    def _look(self) -> None:
        now, waiting = running_loop().time(), self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            future = waiting.popleft()[1]
            if not future.done():
                future.set_result(self._answer)
        self._alarm = ring_in(waiting[0][0] - now, self._look) if waiting else None


def ring_in(seconds: float, callback: Callable[[], object]) -> Alarm:
    """Call back in so many seconds, in the running event loop."""
    return _running_wheel().add(seconds, callback)


def _running_wheel() -> _Wheel:
    global _wheel  # noqa: PLW0603 # a process has one event loop; tests make many
    loop, wheel = running_loop(), _wheel
    if wheel is None or wheel.loop is not loop:
        wheel = _wheel = _Wheel(loop)
    return wheel


_wheel: _Wheel | None = None

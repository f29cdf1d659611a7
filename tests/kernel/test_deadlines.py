"""Deadlines end what takes too long, and nothing else."""

import asyncio
import gc
import time
from collections.abc import Callable
from functools import partial
from heapq import heappop
from sys import getsizeof
from typing import Any

import pytest
import uvloop

from kernel.deadlines import GRAINS_A_SECOND, Deadline, Line, _Wheel, ring_in

SOON_S, LONG_S = 0.03, 30.0


async def test_what_is_done_in_time_is_left_alone() -> None:
    with Deadline(LONG_S):
        await asyncio.sleep(0)

    await asyncio.sleep(0)


async def test_what_takes_too_long_is_over_and_not_early() -> None:
    began_at = time.monotonic()
    with pytest.raises(TimeoutError), Deadline(SOON_S):
        await asyncio.sleep(LONG_S)

    assert SOON_S <= time.monotonic() - began_at < LONG_S
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_the_inner_one_of_two_ends_only_its_own() -> None:
    with Deadline(LONG_S):
        with pytest.raises(TimeoutError), Deadline(SOON_S):
            await asyncio.sleep(LONG_S)
        await asyncio.sleep(0)


async def test_the_outer_one_of_two_passes_through_the_inner() -> None:
    async def wait() -> None:
        with Deadline(SOON_S), Deadline(LONG_S):
            await asyncio.sleep(LONG_S)

    with pytest.raises(TimeoutError):
        await wait()


async def test_who_is_cancelled_inside_is_cancelled_and_not_late() -> None:
    async def wait() -> None:
        with Deadline(LONG_S):
            await asyncio.sleep(LONG_S)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_and_late_at_once_is_cancelled() -> None:
    limit = Deadline(None)

    async def wait() -> None:
        with limit:
            await asyncio.sleep(LONG_S)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    limit.end()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_in_its_place_is_itself() -> None:
    async def fail() -> None:
        with Deadline(SOON_S):
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError as cut:
                raise KeyError("inside") from cut

    with pytest.raises(KeyError):
        await fail()

    await asyncio.sleep(0)


async def test_without_seconds_it_ends_when_it_is_told_and_once() -> None:
    limit = Deadline(None)

    async def wait() -> None:
        with limit:
            limit.end()
            limit.end()
            await asyncio.sleep(LONG_S)

    with pytest.raises(TimeoutError):
        await wait()

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_alarms_ring_in_their_order_and_those_cancelled_never() -> None:
    rung: list[int] = []

    def ring(number: int) -> Callable[[], object]:
        return lambda: rung.append(number)

    ring_in(0.09, ring(3))
    ring_in(LONG_S, ring(9)).cancel()
    ring_in(0.01, ring(1))
    ring_in(0.02, ring(8)).cancel()
    ring_in(0.05, ring(2))
    await asyncio.sleep(0.15)

    assert rung == [1, 2, 3]


async def test_an_alarm_that_another_of_its_moment_cancels_does_not_ring() -> None:
    rung: list[int] = []

    def ring(number: int, other: int) -> None:
        rung.append(number)
        alarms[other].cancel()

    alarms = [ring_in(0.01, partial(ring, 0, 1)), ring_in(0.01, partial(ring, 1, 0))]
    await asyncio.sleep(0.06)

    assert len(rung) == 1


async def test_one_that_fails_keeps_none_of_the_others_from_ringing() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    rung = asyncio.Event()

    def fail() -> None:
        raise ValueError("inside")

    for _ in range(3):
        ring_in(0.01, fail)
    ring_in(0.01, rung.set)
    async with asyncio.timeout(LONG_S):
        await rung.wait()
    await asyncio.sleep(0.05)

    assert [type(context["exception"]) for context in told] == [ValueError] * 3


async def test_what_waits_in_a_line_is_answered_in_its_time_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    line = Line(0.06, "too late")
    first, second, third = (loop.create_future() for _ in range(3))
    began_at = loop.time()
    line.add(first)
    line.add(second)
    second.set_result("in time")
    await asyncio.sleep(0.04)
    line.add(third)

    assert (await first, await second) == ("too late", "in time")
    assert loop.time() - began_at >= 0.06
    assert not third.done()
    assert await third == "too late"
    assert loop.time() - began_at >= 0.1


async def test_a_line_keeps_nothing_that_is_done_before_the_first_that_waits() -> None:
    loop = asyncio.get_running_loop()
    line = Line(LONG_S, None)
    for _ in range(100):
        future = loop.create_future()
        line.add(future)
        future.set_result(None)

    assert len(line._waiting) == 1


def test_every_event_loop_has_alarms_of_its_own() -> None:
    async def wait() -> bool:
        ring_in(LONG_S, asyncio.get_running_loop().stop)
        with pytest.raises(TimeoutError), Deadline(SOON_S):
            await asyncio.sleep(LONG_S)
        return True

    assert all(run(wait()) for run in (asyncio.run, uvloop.run, asyncio.run))


async def test_what_is_over_leaves_nothing_to_the_garbage_collector() -> None:
    ring_in(
        LONG_S, gc.collect
    )  # what serves this event loop takes the place of what served another
    gc.collect()
    with Deadline(LONG_S):
        pass
    ring_in(LONG_S, Deadline(None).end).cancel()

    assert gc.collect() == 0


class Clockwork:
    """An event loop of which nothing is asked but the time, and whose timer never rings."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, *_: object) -> asyncio.TimerHandle:
        loop: Any = self
        return asyncio.TimerHandle(when, print, (), loop)

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, _: object) -> None:
        """Nothing keeps it."""


@pytest.mark.parametrize("seconds", [0.05, 1.0, 2.0, 15.0, 30.0, 600.0, 3600.0])
def test_an_alarm_is_late_by_a_64th_at_the_most_and_never_early(seconds: float) -> None:
    clockwork: Any = Clockwork()
    wheel = _Wheel(clockwork)
    for step in range(1000):
        clockwork.now = 1000 + step / 977
        wheel.add(seconds, print)
        rings_at = max(wheel._moments) / GRAINS_A_SECOND
        assert 0 < rings_at - clockwork.now - seconds <= max(1, seconds) / GRAINS_A_SECOND


def test_moments_ahead_are_few_however_many_long_waits_begin_and_end() -> None:
    clockwork: Any = Clockwork()
    wheel = _Wheel(clockwork)
    for step in range(100_000):
        clockwork.now = 1000 + step / 170  # ten minutes
        for seconds in (0.05, 1.0, 30.0, 600.0):
            wheel.add(seconds, print).cancel()
        while wheel._moments[0] <= clockwork.now * GRAINS_A_SECOND:
            assert not wheel._buckets.pop(heappop(wheel._moments))

    assert len(wheel._buckets) == len(wheel._moments) < 700
    assert max(map(getsizeof, wheel._buckets.values())) < 4096

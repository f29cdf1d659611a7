"""Full collections wait for quiet moments; what start-up found is put back at the end."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway import garbage
from gateway.garbage import FEW_CALLS, MOST_WAIT_S, Collector
from kernel import clock


class Knot:
    """Refers to itself: only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


class Calls:
    count = 0


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def collector(calls: Calls) -> Iterator[Collector]:
    begun = Collector(lambda: calls.count)
    begun.start()
    yield begun
    begun.stop()


def old_knot() -> weakref.ref[Knot]:
    """A knot that has survived the collections of young objects."""
    knot = Knot()
    gc.collect(0)
    gc.collect(1)
    return weakref.ref(knot)


async def test_while_many_calls_are_open_nothing_old_is_walked(
    collector: Collector, calls: Calls
) -> None:
    knot = old_knot()
    calls.count = FEW_CALLS + 1

    await collector.collect()
    during = knot() is not None
    calls.count = FEW_CALLS
    await collector.collect()

    assert (during, knot()) == (True, None)


async def test_after_half_an_hour_without_a_quiet_moment_everything_is_collected(
    collector: Collector, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    knot = old_knot()
    calls.count = FEW_CALLS + 1
    later = clock.monotonic() + MOST_WAIT_S + 1
    monkeypatch.setattr(clock, "monotonic", lambda: later)

    await collector.collect()

    assert knot() is None


def test_a_stopped_collector_leaves_things_as_they_were() -> None:
    before = gc.get_threshold()
    collector = Collector(lambda: 0)

    collector.start()
    during = (gc.get_threshold(), gc.get_freeze_count() > 0)
    collector.stop()

    assert during == ((garbage.YOUNG, garbage.MIDDLE, garbage.NEVER), True)
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)

"""Places at a provider: bounded, waited for shortly, passed on, never lost."""

import asyncio

import pytest

from gateway.routing.places import Places


async def test_a_place_too_many_is_refused_after_a_short_wait() -> None:
    places = Places()
    assert await places.take(1)

    assert not await places.take(1, wait_s=0.01)

    assert places.taken == 1


async def test_a_place_that_is_given_goes_to_who_has_waited_longest() -> None:
    places = Places()
    await places.take(1)
    first = asyncio.create_task(places.take(1, wait_s=30))
    await asyncio.sleep(0)
    second = asyncio.create_task(places.take(1, wait_s=0.5))
    await asyncio.sleep(0)

    places.give()

    assert await first
    assert not await second
    places.give()
    assert places.taken == 0


async def test_who_leaves_while_a_place_comes_passes_it_on() -> None:
    places = Places()
    await places.take(1)
    waiting = asyncio.create_task(places.take(1, wait_s=30))
    await asyncio.sleep(0)
    places.give()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert places.taken == 0

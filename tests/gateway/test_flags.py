"""Flags are events, as far as uvicorn asks for them."""

import asyncio

from gateway.flags import Flag


async def test_a_flag_that_is_set_makes_nobody_wait() -> None:
    flag = Flag(is_set=True)

    assert [await flag.wait(), await flag.wait(), flag.is_set()] == [True, True, True]


async def test_all_who_wait_go_on_when_it_is_set() -> None:
    flag = Flag()
    waiting = [asyncio.ensure_future(flag.wait()) for _ in range(3)]

    flag.set()
    flag.clear()

    assert await asyncio.gather(*waiting) == [True] * 3
    assert not flag.is_set()


async def test_who_stops_waiting_stops_nobody_else() -> None:
    flag = Flag()
    leaving, staying = asyncio.ensure_future(flag.wait()), asyncio.ensure_future(flag.wait())
    leaving.cancel()

    flag.set()

    assert await staying
    assert leaving.cancelled()


async def test_who_has_left_is_not_remembered() -> None:
    flag = Flag()
    for _ in range(100):
        asyncio.ensure_future(flag.wait()).cancel()

    flag.wait()

    assert len(flag._waiters) == 1

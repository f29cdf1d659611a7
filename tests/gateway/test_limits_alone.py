"""Rate limits without Redis: each process enforces its share, and a call hardly waits."""

import asyncio
import logging
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from gateway.levels import Slots
from gateway.limits import FAILURES_TO_OPEN, RateLimiter
from gateway.script import Script
from tests.gateway.asking import ask, per_minute, tokens


def away(processes: int = 4) -> RateLimiter:
    redis = Redis.from_url("redis://127.0.0.1:1/0")
    return RateLimiter(redis, processes=processes, wait_s=0.05)


async def test_without_redis_each_of_p_processes_enforces_its_share() -> None:
    limiter = away(processes=4)

    verdicts = [await limiter.take(ask(per_minute(20))) for _ in range(7)]

    assert [verdict.refused is None for verdict in verdicts] == [True] * 5 + [False] * 2
    assert str(verdicts[5].refused) == "requests per minute of this key: 20"
    assert limiter.fallbacks == 7


async def test_without_redis_a_small_limit_still_lets_one_through() -> None:
    limiter = away(processes=64)

    verdicts = [await limiter.take(ask(per_minute(3))) for _ in range(2)]

    assert [verdict.refused is None for verdict in verdicts] == [True, False]


async def test_without_redis_one_refusing_limit_leaves_the_others_as_they_were() -> None:
    limiter = away(processes=1)
    wide, narrow = per_minute(5, key="rl:wide"), per_minute(1, key="rl:narrow")
    await limiter.take(ask(wide, narrow))
    for _ in range(10):
        await limiter.take(ask(wide, narrow))

    verdicts = [await limiter.take(ask(wide)) for _ in range(5)]

    assert [verdict.refused is None for verdict in verdicts] == [True] * 4 + [False]


async def test_without_redis_calls_at_once_are_bounded_by_the_share_of_every_level() -> None:
    limiter = away(processes=4)
    key, project = Slots("this key", "rl:k", 100), Slots("this project", "rl:p", 8)
    asks = [ask(per_minute(1000), slots=[key, project]) for _ in range(4)]

    first = [await limiter.take(each) for each in asks]
    limiter.give(asks[0], used_tokens=0)
    again = [await limiter.take(each) for each in asks[2:]]

    assert [verdict.refused for verdict in first] == [None, None, project, project]
    assert first[2].retry_ms == 1000
    assert [verdict.refused for verdict in again] == [None, project]


async def test_a_call_that_redis_let_through_counts_when_redis_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiter, slots = away(processes=4), Slots("this key", "rl:k", 4)

    async def agree(_: Script, argument: bytes) -> bytes:
        return b'[{"ok":true,"state":[[9,1]]}]'

    with monkeypatch.context() as patch:
        patch.setattr(Script, "run", agree)
        await limiter.take(ask(per_minute(10), slots=[slots]))

    verdict = await limiter.take(ask(per_minute(10), slots=[slots]))

    assert (limiter.fallbacks, verdict.refused) == (1, slots)
    await limiter.stop()


async def test_without_redis_a_refused_slot_consumes_no_limit() -> None:
    limiter, slots = away(processes=1), Slots("this key", "rl:k", 1)
    running = ask(tokens(100, 10), slots=[slots])
    await limiter.take(running)
    for _ in range(5):
        assert (await limiter.take(ask(tokens(100, 10), slots=[slots]))).refused == slots
    limiter.give(running, used_tokens=10)

    verdict = await limiter.take(ask(tokens(100, 90), slots=[slots]))

    assert (verdict.refused, verdict.states[0][0]) == (None, 0)


async def test_without_redis_tokens_not_used_can_be_taken_again() -> None:
    limiter = away(processes=1)
    reserved = ask(tokens(1000, 1000))
    await limiter.take(reserved)
    assert (await limiter.take(ask(tokens(1000, 1)))).refused is not None

    limiter.give(reserved, used_tokens=600)

    assert (await limiter.take(ask(tokens(1000, 400)))).refused is None
    assert (await limiter.take(ask(tokens(1000, 1)))).refused is not None


async def test_without_redis_what_is_larger_than_the_limit_never_gets_through() -> None:
    verdict = await away().take(ask(tokens(100, 101)))

    assert str(verdict.refused) == "tokens per minute of this key: 100"


async def test_the_breaker_opens_after_five_failures_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limiter = away()

    with caplog.at_level(logging.WARNING):
        for _ in range(FAILURES_TO_OPEN + 20):
            await limiter.take(ask(per_minute(1000)))

    assert caplog.text.count("rate_limits_local") == 5
    assert limiter.fallbacks == 25


async def test_a_frozen_redis_costs_a_call_fifty_milliseconds_at_most() -> None:
    async def hear_and_say_nothing(*_: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    silent = await asyncio.start_server(hear_and_say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    redis = Redis.from_url(f"redis://127.0.0.1:{port}/0")
    limiter = RateLimiter(redis, processes=1, wait_s=0.05)
    loop = asyncio.get_running_loop()

    begun = loop.time()
    verdict = await limiter.take(ask(per_minute(10)))
    waited_s = loop.time() - begun

    silent.close()
    assert verdict.refused is None
    assert 0.045 <= waited_s < 0.25


@pytest.mark.parametrize("fault", [RuntimeError, None])
async def test_a_round_trip_that_fails_in_a_way_nobody_foresaw_keeps_no_call_waiting(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception] | None
) -> None:
    never = asyncio.Event()

    async def stuck(_: Script, argument: bytes) -> bytes:
        if fault is not None:
            raise fault
        with suppress(asyncio.CancelledError):
            await never.wait()
        await never.wait()  # and hears of no time-out
        return argument

    monkeypatch.setattr(Script, "run", stuck)
    limiter, loop = away(processes=1), asyncio.get_running_loop()

    begun = loop.time()
    verdicts = [await limiter.take(ask(per_minute(10))) for _ in range(2)]

    assert [verdict.refused for verdict in verdicts] == [None, None]
    assert loop.time() - begun < 2
    assert limiter.fallbacks == 2

"""Rate limits on real Redis: exact, all or nothing, batched; slots are leases."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.limits import (
    FAILURES_TO_OPEN,
    MINUTE_MS,
    Check,
    RateLimiter,
    Slots,
    Verdict,
)
from kernel.errors import RateLimitError
from tests.conftest import empty_redis


class CountedRedis(Redis):
    """Counts the scripts it is asked to run."""

    calls = 0

    async def evalsha(self, *arguments: Any) -> Any:
        self.calls += 1
        return await super().evalsha(*arguments)


@pytest.fixture
async def server() -> AsyncIterator[CountedRedis]:
    client = CountedRedis.from_url(empty_redis())
    assert isinstance(client, CountedRedis)
    async with client:
        yield client


@pytest.fixture
async def limiter(
    server: CountedRedis, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RateLimiter]:
    """A limiter that waits two seconds: 50 ms are tried elsewhere, and CI's machines stall."""
    monkeypatch.setattr("gateway.limits.WAIT_S", 2.0)
    limiter = RateLimiter(server, processes=2)
    yield limiter
    await limiter.stop()


def per_minute(limit: int, cost: int = 1, key: str = "rl:a:rpm") -> Check:
    return Check("requests per minute", key, limit, cost, MINUTE_MS)


async def take_each(
    limiter: RateLimiter, checks: Sequence[Check], slots: Sequence[Slots | None] = ()
) -> list[Verdict]:
    wanted = slots or [None] * len(checks)
    return list(
        await asyncio.gather(
            *(limiter.take([check], slot) for check, slot in zip(checks, wanted, strict=True))
        )
    )


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
async def test_a_limit_of_n_lets_exactly_n_through_at_once(
    limiter: RateLimiter, limit: int
) -> None:
    # an hour's period: nothing refills while the test runs
    check = Check("requests per minute", "rl:n", limit, 1, 3_600_000)

    verdicts = await take_each(limiter, [check] * (limit + 5))

    assert [verdict.refused is None for verdict in verdicts] == [True] * limit + [False] * 5
    assert [states[0] for (states,) in (v.states for v in verdicts[:limit])] == list(
        range(limit - 1, -1, -1)
    )


async def test_a_refusal_says_which_limit_and_when_to_come_back(limiter: RateLimiter) -> None:
    await limiter.take([per_minute(4, cost=4)], None)

    verdict = await limiter.take([per_minute(4)], None)

    assert verdict.refused == "requests per minute: limit 4, requested 1"
    assert 14_000 < verdict.retry_ms <= 15_000
    with pytest.raises(RateLimitError) as refused:
        verdict.raise_if_refused()
    assert refused.value.headers == {"retry-after": "15", "retry-after-ms": "15000"}
    assert "budget" not in refused.value.message


async def test_what_was_refused_gets_through_after_the_time_it_was_told(
    limiter: RateLimiter,
) -> None:
    quick = Check("requests per minute", "rl:q", 10, 1, 500)
    await limiter.take([Check("requests per minute", "rl:q", 10, 10, 500)], None)
    refused = await limiter.take([quick], None)
    assert refused.refused is not None

    await asyncio.sleep((refused.retry_ms + 2) / 1000)

    assert (await limiter.take([quick], None)).refused is None


async def test_of_several_limits_one_that_refuses_leaves_all_as_they_were(
    limiter: RateLimiter,
) -> None:
    wide, narrow = per_minute(100, key="rl:wide"), per_minute(1, key="rl:narrow")
    await limiter.take([wide, narrow], None)

    refused = [await limiter.take([wide, narrow], None) for _ in range(10)]

    assert {verdict.refused for verdict in refused} == {"requests per minute: limit 1, requested 1"}
    assert (await limiter.take([wide], None)).states[0][0] == 98


async def test_a_refused_slot_consumes_no_limit(limiter: RateLimiter) -> None:
    one = [Slots("rl:s", 1, name, 60_000) for name in ("first", "second")]
    await limiter.take([per_minute(100)], one[0])

    verdict = await limiter.take([per_minute(100)], one[1])

    assert verdict.refused == "concurrent requests: limit 1"
    assert (await limiter.take([per_minute(100)], None)).states[0][0] == 98


async def test_tokens_given_back_can_be_taken_again(limiter: RateLimiter) -> None:
    all_of_it = Check("tokens per minute", "rl:t", 1000, 1000, 3_600_000)
    await limiter.take([all_of_it], None)
    limiter.give([Check("tokens per minute", "rl:t", 1000, 400, 3_600_000)], None)

    fits = await limiter.take([Check("tokens per minute", "rl:t", 1000, 400, 3_600_000)], None)
    one_more = await limiter.take([Check("tokens per minute", "rl:t", 1000, 1, 3_600_000)], None)

    assert (fits.refused, fits.states[0][0]) == (None, 0)
    assert one_more.refused == "tokens per minute: limit 1000, requested 1"


async def test_giving_back_more_than_was_taken_makes_no_credit(limiter: RateLimiter) -> None:
    limiter.give([per_minute(3, cost=50)], None)

    verdicts = await take_each(limiter, [per_minute(3)] * 4)

    assert [verdict.refused is None for verdict in verdicts] == [True, True, True, False]


async def test_slots_bound_calls_at_once_and_are_free_again_when_given_back(
    limiter: RateLimiter,
) -> None:
    slots = [Slots("rl:s", 2, f"req_{number}", 60_000) for number in range(3)]

    first = await take_each(limiter, [per_minute(100)] * 3, slots)
    limiter.give([], slots[0])
    again = await limiter.take([per_minute(100)], slots[2])

    assert [verdict.refused for verdict in first] == [None, None, "concurrent requests: limit 2"]
    assert again.refused is None


async def test_a_slot_whose_owner_died_ends_by_itself(limiter: RateLimiter) -> None:
    await limiter.take([], Slots("rl:s", 1, "dead", 80))
    assert (await limiter.take([], Slots("rl:s", 1, "next", 80))).refused is not None

    await asyncio.sleep(0.1)

    assert (await limiter.take([], Slots("rl:s", 1, "next", 80))).refused is None


async def test_what_limits_leave_in_redis_ends_by_itself(
    limiter: RateLimiter, server: CountedRedis
) -> None:
    await limiter.take([per_minute(60)], Slots("rl:s", 1, "x", 60_000))

    left = {key: await server.pttl(key) for key in await server.keys("*")}

    assert left.keys() == {b"rl:a:rpm", b"rl:s"}
    assert 0 < left[b"rl:a:rpm"] <= 1_001
    assert 0 < left[b"rl:s"] <= 60_000


async def test_two_hundred_calls_at_once_are_one_round_trip(
    limiter: RateLimiter, server: CountedRedis
) -> None:
    verdicts = await take_each(
        limiter, [per_minute(1000, key=f"rl:{number}") for number in range(200)]
    )

    assert [verdict.refused for verdict in verdicts] == [None] * 200
    assert server.calls == 1


async def test_calls_of_one_batch_see_each_other(limiter: RateLimiter) -> None:
    verdicts = await take_each(limiter, [per_minute(3)] * 5)

    assert [verdict.refused is None for verdict in verdicts] == [True] * 3 + [False] * 2


async def test_a_script_that_redis_forgot_is_loaded_again(
    limiter: RateLimiter, server: CountedRedis
) -> None:
    await server.script_flush()

    verdict = await limiter.take([per_minute(5)], None)

    assert (verdict.refused, limiter.fallbacks) == (None, 0)


async def test_redis_that_comes_back_is_asked_again(
    limiter: RateLimiter, server: CountedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(server, "evalsha", broken)
        for _ in range(FAILURES_TO_OPEN):
            await limiter.take([per_minute(1000)], None)
    limiter._open_until = 0.0  # the second is over

    await limiter.take([per_minute(1000)], None)

    assert (server.calls, limiter.fallbacks) == (1, FAILURES_TO_OPEN)

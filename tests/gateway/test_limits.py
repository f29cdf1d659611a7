"""Rate limits on real Redis: exact, all or nothing, batched; slots are leases."""

import asyncio

import pytest
from redis.asyncio import Redis

from gateway.levels import Ask, Check, Slots
from gateway.limits import RateLimiter
from gateway.script import Script
from kernel.errors import RateLimitError
from tests.gateway.asking import (
    ask,
    limiter,
    per_minute,
    server,
    slots,
    take_each,
    tokens,
)

__all__ = ["limiter", "server"]


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
async def test_a_limit_of_n_lets_exactly_n_through_at_once(
    limiter: RateLimiter, limit: int
) -> None:
    # an hour's period: nothing refills while the test runs
    check = Check("requests per minute", "this key", "rl:n", limit, 1, 3_600_000)

    verdicts = await take_each(limiter, [ask(check) for _ in range(limit + 5)])

    assert [verdict.refused is None for verdict in verdicts] == [True] * limit + [False] * 5
    assert [states[0] for (states,) in (v.states for v in verdicts[:limit])] == list(
        range(limit - 1, -1, -1)
    )


async def test_a_refusal_says_which_limit_and_when_to_come_back(limiter: RateLimiter) -> None:
    await limiter.take(ask(per_minute(4, cost=4)))

    verdict = await limiter.take(ask(per_minute(4)))

    assert str(verdict.refused) == "requests per minute of this key: 4"
    assert 14_000 < verdict.retry_ms <= 15_000
    with pytest.raises(RateLimitError) as refused:
        verdict.raise_if_refused()
    assert refused.value.headers == {"retry-after": "15", "retry-after-ms": "15000"}
    assert refused.value.message == (
        "Rate limit reached for requests per minute of this key: 4. Please try again in 15s."
    )


async def test_what_was_refused_gets_through_after_the_time_it_was_told(
    limiter: RateLimiter,
) -> None:
    def quick(cost: int) -> Ask:
        return ask(Check("requests per minute", "this key", "rl:q", 10, cost, 500))

    await limiter.take(quick(10))
    refused = await limiter.take(quick(1))
    assert refused.refused is not None

    await asyncio.sleep((refused.retry_ms + 2) / 1000)

    assert (await limiter.take(quick(1))).refused is None


async def test_of_several_limits_one_that_refuses_leaves_all_as_they_were(
    limiter: RateLimiter,
) -> None:
    wide, narrow = per_minute(100, key="rl:wide"), per_minute(1, key="rl:narrow")
    await limiter.take(ask(wide, narrow))

    refused = [await limiter.take(ask(wide, narrow)) for _ in range(10)]

    assert {verdict.refused for verdict in refused} == {narrow}
    assert (await limiter.take(ask(wide))).states[0][0] == 98


async def test_a_refused_slot_consumes_no_limit_and_no_other_slot(limiter: RateLimiter) -> None:
    wide, narrow = Slots("this project", "rl:wide", 2), Slots("this key", "rl:narrow", 1)
    await limiter.take(ask(per_minute(100), slots=[wide, narrow]))

    verdicts = [await limiter.take(ask(per_minute(100), slots=[wide, narrow])) for _ in range(3)]

    assert {str(v.refused) for v in verdicts} == {"concurrent requests of this key: 1"}
    after = await limiter.take(ask(per_minute(100), slots=[wide]))
    assert (after.refused, after.states[0][0]) == (None, 98)


async def test_a_full_slot_of_the_second_level_is_the_one_that_is_named(
    limiter: RateLimiter,
) -> None:
    wide, narrow = Slots("this key", "rl:wide", 9), Slots("this project", "rl:narrow", 1)
    await limiter.take(ask(per_minute(100), slots=[wide, narrow]))

    verdict = await limiter.take(ask(per_minute(100), slots=[wide, narrow]))

    assert (verdict.refused, verdict.retry_ms) == (narrow, 1000)


async def test_tokens_not_used_can_be_taken_again_on_every_level(limiter: RateLimiter) -> None:
    reserved = ask(tokens(1000, 1000, "rl:t1"), tokens(1000, 1000, "rl:t2"))
    await limiter.take(reserved)
    limiter.give(reserved, used_tokens=600)

    fits = await limiter.take(ask(tokens(1000, 400, "rl:t1"), tokens(1000, 400, "rl:t2")))
    one_more = [await limiter.take(ask(tokens(1000, 1, key))) for key in ("rl:t1", "rl:t2")]

    assert (fits.refused, [state[0] for state in fits.states]) == (None, [0, 0])
    assert [str(v.refused) for v in one_more] == ["tokens per minute of this key: 1000"] * 2


async def test_tokens_used_beyond_what_was_reserved_count_too(limiter: RateLimiter) -> None:
    reserved = ask(tokens(1000, 100))
    await limiter.take(reserved)

    limiter.give(reserved, used_tokens=300)

    assert (await limiter.take(ask(tokens(1000, 0)))).states[0][0] == 700


async def test_a_call_that_costs_no_tokens_is_not_refused_for_tokens(limiter: RateLimiter) -> None:
    reserved = ask(tokens(1000, 1000))
    await limiter.take(reserved)
    limiter.give(reserved, used_tokens=5000)

    assert (await limiter.take(ask(tokens(1000, 0)))).refused is None


async def test_what_was_never_taken_makes_no_credit(limiter: RateLimiter) -> None:
    await limiter.take(ask(tokens(1000, 500)))

    limiter.give(ask(tokens(1000, 400)), used_tokens=0)

    assert (await limiter.take(ask(tokens(1000, 0)))).states[0][0] == 500


async def test_giving_back_twice_is_giving_back_once(limiter: RateLimiter) -> None:
    await limiter.take(ask(tokens(1000, 500)))
    reserved = ask(tokens(1000, 200))
    await limiter.take(reserved)

    limiter.give(reserved, used_tokens=100)
    limiter.give(reserved, used_tokens=100)

    assert (await limiter.take(ask(tokens(1000, 0)))).states[0][0] == 400


async def test_a_script_that_ran_unheard_charges_once_when_it_is_sent_again(
    limiter: RateLimiter,
) -> None:
    charged = ask(tokens(1000, 300), slots=[slots(1)])
    await limiter.take(charged)

    again = await limiter.take(charged)

    assert (again.refused, again.states[0][0]) == (None, 700)
    limiter.give(charged, used_tokens=300)
    assert (await limiter.take(ask(tokens(1000, 0), slots=[slots(1)]))).refused is None


async def test_what_is_refused_here_after_a_script_that_ran_unheard_is_handed_back(
    limiter: RateLimiter, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Script.run

    async def unheard(script: Script, argument: bytes) -> bytes:
        await run(script, argument)
        raise TimeoutError

    big, other = ask(tokens(1000, 600), slots=[slots(4)]), ask(tokens(1000, 0), slots=[slots(4)])
    with monkeypatch.context() as patch:
        patch.setattr(Script, "run", unheard)
        patch.setattr(Script, "is_ready", False)
        first = await limiter.take(big)
        refused = await limiter.take(ask(tokens(1000, 300), slots=[slots(4)]))

    limiter.give(big, used_tokens=100)
    verdict = await limiter.take(other)

    assert (first.refused, str(refused.refused)) == (None, "tokens per minute of this key: 1000")
    assert verdict.states[0][0] == 900
    assert await server.zrange("rl:s", 0, -1) == [other.request_id.encode()]


async def test_a_caller_who_leaves_while_limits_are_asked_holds_nothing(
    limiter: RateLimiter, server: Redis
) -> None:
    asking = asyncio.create_task(limiter.take(ask(tokens(1000, 600), slots=[slots(1)])))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])

    verdict = await limiter.take(ask(tokens(1000, 0), slots=[slots(1)]))

    assert (verdict.refused, verdict.states[0][0]) == (None, 1000)


async def test_slots_bound_calls_at_once_and_are_free_again_when_given_back(
    limiter: RateLimiter,
) -> None:
    asks = [ask(per_minute(100), slots=[slots(2)]) for _ in range(3)]

    first = await take_each(limiter, asks)
    limiter.give(asks[0], used_tokens=0)
    again = await limiter.take(asks[2])

    assert [v.refused for v in first] == [None, None, slots(2)]
    assert again.refused is None


async def test_a_slot_whose_owner_died_ends_by_itself(
    limiter: RateLimiter, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limits.LEASE_MS", 80)
    dead = RateLimiter(server, processes=2, wait_s=2.0)
    await dead.take(ask(per_minute(100), slots=[slots(1)]))
    await dead.stop()  # nobody renews
    assert (await limiter.take(ask(per_minute(100), slots=[slots(1)]))).refused == slots(1)

    await asyncio.sleep(0.1)

    assert (await limiter.take(ask(per_minute(100), slots=[slots(1)]))).refused is None


async def test_a_slot_is_renewed_while_its_call_runs_and_is_there_again_after_a_flush(
    limiter: RateLimiter, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limits.RENEW_S", 0.05)
    running = ask(per_minute(100), slots=[slots(1)])
    await limiter.take(running)
    await server.flushdb()

    deadline = asyncio.get_running_loop().time() + 20
    while not await server.exists("rl:s"):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)

    assert (await limiter.take(ask(per_minute(100), slots=[slots(1)]))).refused == slots(1)
    assert 0 < await server.pttl("rl:s") <= 10_000


async def test_two_processes_together_let_exactly_the_limit_through(
    limiter: RateLimiter, server: Redis
) -> None:
    other = RateLimiter(server, processes=2, wait_s=2.0)
    asks = [ask(tokens(1000, 30), tokens(500, 30, "rl:t2"), slots=[slots(14)]) for _ in range(40)]

    verdicts = await asyncio.gather(
        take_each(limiter, asks[:20]), take_each(other, asks[20:]), return_exceptions=False
    )
    passed = [v for half in verdicts for v in half if v.refused is None]

    await other.stop()
    assert len(passed) == 14
    # 14 × 30 tokens of either level, and not a token of a refused call
    left = await limiter.take(ask(tokens(1000, 0), tokens(500, 0, "rl:t2")))
    assert [state[0] for state in left.states] == [580, 80]


async def test_what_limits_leave_in_redis_ends_by_itself(
    limiter: RateLimiter, server: Redis
) -> None:
    asked = ask(per_minute(60), slots=[slots(1)])
    await limiter.take(asked)

    left = {key: await server.pttl(key) for key in await server.keys("*")}

    mark = f"rl:c:{asked.request_id}".encode()
    assert left.keys() == {b"rl:a:rpm", b"rl:s", mark}
    assert 0 < left[b"rl:a:rpm"] <= 1_001
    assert 0 < left[b"rl:s"] <= 10_000
    assert 0 < left[mark] <= 60_000

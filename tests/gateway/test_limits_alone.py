"""Rate limits without Redis: each process enforces its share, and a call hardly waits.

Also what callers are told of their limits.
"""

import asyncio
import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from accounts.principal import Principal
from gateway.limits import (
    DAY_MS,
    FAILURES_TO_OPEN,
    MINUTE_MS,
    Check,
    Defaults,
    RateLimiter,
    Slots,
    Verdict,
    checks_for,
    render_duration,
    slots_for,
)
from kernel.errors import RateLimitError


def away(processes: int = 4) -> RateLimiter:
    return RateLimiter(Redis.from_url("redis://127.0.0.1:1/0"), processes=processes)


def per_minute(limit: int, cost: int = 1, key: str = "rl:a:rpm") -> Check:
    return Check("requests per minute", key, limit, cost, MINUTE_MS)


async def test_without_redis_each_of_p_processes_enforces_its_share() -> None:
    limiter = away(processes=4)

    verdicts = [await limiter.take([per_minute(20)], None) for _ in range(7)]

    assert [verdict.refused is None for verdict in verdicts] == [True] * 5 + [False] * 2
    assert verdicts[5].refused == "requests per minute: limit 20, requested 1"
    assert limiter.fallbacks == 7


async def test_without_redis_a_small_limit_still_lets_one_through() -> None:
    limiter = away(processes=64)

    verdicts = [await limiter.take([per_minute(3)], None) for _ in range(2)]

    assert [verdict.refused is None for verdict in verdicts] == [True, False]


async def test_without_redis_one_refusing_limit_leaves_the_others_as_they_were() -> None:
    limiter = away(processes=1)
    wide, narrow = per_minute(5, key="rl:wide"), per_minute(1, key="rl:narrow")
    await limiter.take([wide, narrow], None)
    for _ in range(10):
        await limiter.take([wide, narrow], None)

    verdicts = [await limiter.take([wide], None) for _ in range(5)]

    assert [verdict.refused is None for verdict in verdicts] == [True] * 4 + [False]


async def test_the_breaker_opens_after_five_failures_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limiter = away()

    with caplog.at_level(logging.WARNING):
        for _ in range(FAILURES_TO_OPEN + 20):
            await limiter.take([per_minute(1000)], None)

    assert caplog.text.count("rate_limits_local") == 5
    assert limiter.fallbacks == 25


async def test_a_frozen_redis_costs_a_call_fifty_milliseconds_at_most() -> None:
    async def hear_and_say_nothing(*_: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    silent = await asyncio.start_server(hear_and_say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    limiter = RateLimiter(Redis.from_url(f"redis://127.0.0.1:{port}/0"), processes=1)
    loop = asyncio.get_running_loop()

    begun = loop.time()
    verdict = await limiter.take([per_minute(10)], None)
    waited_s = loop.time() - begun

    silent.close()
    assert verdict.refused is None
    assert 0.045 <= waited_s < 0.25


def principal(**limits: Any) -> Principal:
    unlimited: dict[str, Any] = dict.fromkeys(("rpm", "rpd", "tpm", "concurrency"))
    return Principal(
        **{
            "key_id": 1,
            "key_public_id": "k",
            "kind": "proj",
            "org_id": 1,
            "org_public_id": "o",
            "org_active": True,
            "project_id": 1,
            "allowed_models": None,
            "expires_at": None,
            "revoked": False,
            **unlimited,
            **limits,
        }
    )


def test_a_key_has_its_own_limits_and_the_platforms_where_it_has_none() -> None:
    defaults = Defaults(rpm=100, tpm=1000, most_call_s=600)

    plain = checks_for(principal(), 7, defaults)
    own = checks_for(principal(rpm=5, rpd=50, tpm=500), 7, defaults)

    assert [check.as_row() for check in plain] == [
        ["rl:k:rpm", 100, 1, MINUTE_MS],
        ["rl:k:tpm", 1000, 7, MINUTE_MS],
    ]
    assert [check.as_row() for check in own] == [
        ["rl:k:rpm", 5, 1, MINUTE_MS],
        ["rl:k:rpd", 50, 1, DAY_MS],
        ["rl:k:tpm", 500, 7, MINUTE_MS],
    ]
    assert slots_for(principal(), "req_1", 600) is None
    assert slots_for(principal(concurrency=2), "req_1", 600) == Slots(
        "rl:k:slots", 2, "req_1", 600_000
    )


def test_a_call_larger_than_its_limit_is_told_not_to_come_back() -> None:
    verdict = Verdict("tokens per minute: limit 5, requested 9", 1, [per_minute(5, 9)], [(5, 0)])

    with pytest.raises(RateLimitError) as refused:
        verdict.raise_if_refused()

    assert refused.value.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        *[(-5, "0ms"), (0, "0ms"), (12, "12ms"), (999, "999ms"), (1000, "1s"), (1001, "2s")],
        *[(59_001, "1m0s"), (360_000, "6m0s"), (86_400_000, "24h0m0s")],
    ],
)
def test_durations_are_written_as_the_contract_does(ms: int, text: str) -> None:
    assert render_duration(ms) == text


def test_the_headers_show_the_first_limit_of_requests_and_of_tokens() -> None:
    checks = checks_for(principal(rpd=9), 7, Defaults(rpm=100, tpm=1000, most_call_s=1))

    headers = Verdict(None, 0, checks, [(99, 600), (8, 9_000), (-3, 61_000)]).headers()

    assert dict(headers) == {
        b"x-ratelimit-limit-requests": b"100",
        b"x-ratelimit-remaining-requests": b"99",
        b"x-ratelimit-reset-requests": b"600ms",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"1m1s",
    }

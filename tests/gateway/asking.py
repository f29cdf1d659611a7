"""Asking for rate limits in tests: a limiter on real Redis, and what it is asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.levels import MINUTE_MS, Ask, Check, Slots, Verdict
from gateway.limits import RateLimiter
from gateway.script import Hear, Script
from kernel.ids import new_request_id
from tests.conftest import empty_redis


class CountedScript(Script):
    """Counts how often it was answered. Redis itself counts for all workers of a run together."""

    runs = 0

    def send(self, argument: bytes, hear: Hear) -> None:
        def count(outcome: bytes | RedisError) -> None:
            self.runs += isinstance(outcome, bytes)
            hear(outcome)

        super().send(argument, count)


@pytest.fixture
async def server() -> AsyncIterator[Redis]:
    async with Redis.from_url(empty_redis()) as client:
        yield client


@pytest.fixture
async def limiter(server: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RateLimiter]:
    """A limiter that waits two seconds: 50 ms are tried elsewhere, and CI's machines stall."""
    monkeypatch.setattr("gateway.limits.Script", CountedScript)
    limiter = RateLimiter(server, processes=2, wait_s=2.0)
    yield limiter
    await limiter.stop()


def scripts_run(limiter: RateLimiter) -> int:
    """Return how many batches Redis has answered this limiter."""
    script = limiter._script
    assert isinstance(script, CountedScript)
    return script.runs


def per_minute(limit: int, cost: int = 1, key: str = "rl:a:rpm") -> Check:
    return Check("requests per minute", "this key", key, limit, cost, MINUTE_MS)


def tokens(limit: int, cost: int, key: str = "rl:t") -> Check:
    """An hour's period: nothing refills while a test runs."""
    return Check("tokens per minute", "this key", key, limit, cost, 3_600_000)


def ask(*checks: Check, slots: Sequence[Slots] = (), request_id: str | None = None) -> Ask:
    return Ask(request_id or new_request_id(), checks, slots)


async def take_each(limiter: RateLimiter, asks: Sequence[Ask]) -> list[Verdict]:
    return list(await asyncio.gather(*(limiter.take(each) for each in asks)))


def slots(limit: int) -> Slots:
    return Slots("this key", "rl:s", limit)

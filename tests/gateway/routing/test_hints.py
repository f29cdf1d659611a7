"""What one process finds out about a provider its neighbours hear, and it does not echo."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.routing.hints import Hints, circuit_key
from gateway.routing.router import Router
from tests.conftest import empty_redis


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = Redis.from_url(empty_redis())
    yield client
    await client.aclose()


def silent_router() -> Router:
    return Router({}, failures=3, tell=lambda *_: None)


async def test_a_neighbour_leaves_alone_what_is_told_and_the_teller_does_not_hear_itself(
    redis: Redis,
) -> None:
    mine, theirs = Hints(redis, "api-1"), Hints(redis, "api-2")
    told, here, there = silent_router(), silent_router(), silent_router()

    async with redis.pubsub() as news:
        await news.subscribe(mine.channel)
        mine.tell(told.circuit("acme", "m"), 30)
        await mine.stop()
        async with asyncio.timeout(10):
            while (message := await news.get_message(timeout=5)) is None or (
                message["type"] != "message"
            ):
                pass
    mine.hear(message["data"], here)
    theirs.hear(message["data"], there)

    assert here.circuit("acme", "m").enter() is not None
    assert there.circuit("acme", "m").enter() is None
    assert there.circuit("acme", "another").enter() is not None


async def test_how_a_circuit_stands_can_be_looked_up_until_that_ends(redis: Redis) -> None:
    router, hints = silent_router(), Hints(redis, "api-1")
    opened, resting, own = (
        router.circuit("acme", "m"),
        router.circuit("acme", "n"),
        router.circuit("acme", "o", 7),
    )
    for _ in range(3):
        opened.failed(is_probe=False)
    resting.rest(20)
    own.rest(30)

    hints.tell(opened, 30)
    hints.tell(resting, 20)
    hints.tell(own, 30)
    await hints.stop()

    assert await redis.get(circuit_key("acme", "m")) == b"open"
    assert 0 < await redis.pttl(circuit_key("acme", "m")) <= 30_000
    assert await redis.get(circuit_key("acme", "n")) == b"resting"
    assert 0 < await redis.pttl(circuit_key("acme", "n")) <= 20_000
    assert await redis.get(circuit_key("acme", "o")) is None


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"owner": "x", "provider": "p"}'])
async def test_a_hint_that_cannot_be_read_is_left_out(redis: Redis, said: bytes) -> None:
    router = silent_router()

    Hints(redis, "api-1").hear(said, router)

    assert router.open_circuits == 0


async def test_without_redis_telling_fails_in_silence_and_nobody_waits() -> None:
    hints = Hints(Redis.from_url("redis://127.0.0.1:1/3"), "api-1")

    hints.tell(silent_router().circuit("acme", "m"), 30)
    await hints.stop()

    assert hints.channel == "tollgate:circuits:3"

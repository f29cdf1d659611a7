"""Entries are sealed under their name, bounded for each key, and Redis away is a miss."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.cache import store
from gateway.cache.store import AnswerCache
from kernel import clock
from tests.conftest import Stores


def open_cache(client: "Redis", *, key: str = "one") -> AnswerCache:
    return AnswerCache(client, f"secret {key}", percent=10)


@pytest.fixture
async def client(stores: Stores) -> AsyncIterator["Redis"]:
    opened = Redis.from_url(stores.redis_url)
    yield opened
    await opened.aclose()


async def test_what_is_kept_is_found_under_its_name_and_secret_alone(client: "Redis") -> None:
    cache = open_cache(client)

    await cache.keep("a", b"an answer", ttl_s=60, owner="key")

    assert await cache.find("a") == b"an answer"
    assert await cache.find("b") is None
    assert await open_cache(client, key="another").find("a") is None
    [entry] = [name async for name in client.scan_iter("tollgate:answer:*")]
    sealed = await client.get(entry)
    assert isinstance(sealed, bytes)
    assert b"an answer" not in sealed
    await client.set("tollgate:answer:b", sealed)
    assert await cache.find("b") is None
    assert 0 < await client.ttl(entry) <= 60


def test_names_tell_apart_where_one_part_ends(client: "Redis") -> None:
    cache = open_cache(client)

    assert cache.name(b"ab", b"c") == cache.name(b"ab", b"c")
    assert len({cache.name(b"ab", b"c"), cache.name(b"a", b"bc"), cache.name(b"abc")}) == 3
    assert cache.name(b"ab") != open_cache(client, key="another").name(b"ab")


async def test_a_key_has_room_for_so_much_a_day_and_no_more(
    client: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now_s", lambda: 1_800_000_000)
    monkeypatch.setattr(store, "MOST_BYTES_A_DAY", 1_000)
    cache = open_cache(client)

    for name in ("first", "second"):
        await cache.keep(name, b"x" * 600, ttl_s=60, owner="alices")
    await cache.keep("third", b"x" * 600, ttl_s=60, owner="bobs")

    assert await cache.find("first") == b"x" * 600
    assert await cache.find("second") is None
    assert await cache.find("third") == b"x" * 600
    counters = [name async for name in client.scan_iter("tollgate:answers:of:alices:*")]
    assert all([86_000 < await client.ttl(name) <= 86_400 for name in counters])
    assert counters


async def test_redis_away_is_a_miss_and_no_error() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as nobody:
        cache = open_cache(nobody)

        await cache.keep("a", b"an answer", ttl_s=60, owner="key")

        assert await cache.find("a") is None


async def test_a_redis_that_says_nothing_is_left_alone_for_a_while() -> None:
    asked = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Redis.from_url(f"redis://127.0.0.1:{port}/0") as silent:
            cache = open_cache(silent)

            async with asyncio.timeout(30):
                found = [await cache.find("a") for _ in range(100)]

    assert found == [None] * 100
    assert len(asked) < 100

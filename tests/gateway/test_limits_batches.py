"""How rate limits reach Redis: in batches, on a script that may be lost, after Redis was away."""

import asyncio
from typing import Any

import hiredis
import orjson
import pytest
from redis.asyncio import Redis

from gateway.limits import FAILURES_TO_OPEN, RateLimiter
from gateway.script import Hear, Script
from tests.gateway.asking import (
    CountedScript,
    ask,
    limiter,
    per_minute,
    scripts_run,
    server,
    slots,
    take_each,
    tokens,
)

__all__ = ["limiter", "server"]


async def test_two_hundred_calls_at_once_are_one_round_trip(
    limiter: RateLimiter, server: Redis
) -> None:
    verdicts = await take_each(
        limiter, [ask(per_minute(1000, key=f"rl:{number}")) for number in range(200)]
    )

    assert [verdict.refused for verdict in verdicts] == [None] * 200
    assert scripts_run(limiter) == 1


async def test_what_goes_back_goes_with_the_next_call_and_before_it(
    limiter: RateLimiter, server: Redis
) -> None:
    first, second = ask(tokens(100, 90), slots=[slots(1)]), ask(tokens(100, 90), slots=[slots(1)])
    await limiter.take(first)
    limiter.give(first, used_tokens=10)

    verdict = await limiter.take(second)

    assert (verdict.refused, verdict.states[0][0]) == (None, 0)
    assert scripts_run(limiter) == 2


async def test_what_goes_back_goes_alone_where_nobody_asks(
    limiter: RateLimiter, server: Redis
) -> None:
    asked = ask(tokens(100, 90), slots=[slots(1)])
    await limiter.take(asked)
    limiter.give(asked, used_tokens=0)

    for _ in range(1000):
        if not await server.exists("rl:s", "rl:t"):
            break
        await asyncio.sleep(0.005)
    await limiter.stop()  # the answer may still be on its way

    assert (scripts_run(limiter), await server.exists("rl:s", "rl:t")) == (2, 0)


async def test_a_call_that_left_before_it_was_asked_for_is_charged_nothing(
    limiter: RateLimiter, server: Redis
) -> None:
    waiting = [asyncio.create_task(limiter.take(ask(tokens(100, 1)))) for _ in range(2)]
    await asyncio.sleep(0)  # the first is on its way, the next one waits
    leaving = asyncio.create_task(limiter.take(ask(tokens(100, 50), slots=[slots(1)])))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(*waiting, leaving, return_exceptions=True)
    await limiter.stop()

    assert (await limiter.take(ask(tokens(100, 1)))).states[0][0] == 97
    assert await server.exists("rl:s") == 0


async def test_calls_of_one_batch_see_each_other(limiter: RateLimiter) -> None:
    verdicts = await take_each(limiter, [ask(per_minute(3)) for _ in range(5)])

    assert [verdict.refused is None for verdict in verdicts] == [True] * 3 + [False] * 2


async def test_a_script_that_redis_forgot_is_loaded_again(
    limiter: RateLimiter, server: Redis
) -> None:
    await server.script_flush()

    verdict = await limiter.take(ask(per_minute(5)))

    assert (verdict.refused, limiter.fallbacks) == (None, 0)


async def test_a_connection_that_redis_closed_is_opened_again(
    limiter: RateLimiter, server: Redis
) -> None:
    await limiter.take(ask(per_minute(5)))
    await server.client_kill_filter(_type="normal", skipme=True)

    verdict = await limiter.take(ask(per_minute(5)))

    assert (verdict.states[0][0], limiter.fallbacks) == (3, 0)


async def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer scripts with their argument, one of them late."""
        commands = hiredis.Reader()
        while data := await reader.read(65536):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                said = command[-1] if command[0] == b"EVALSHA" else b"sha"
                await asyncio.sleep(0.3 if said == b"late" else 0)
                writer.write(b"$%d\r\n%b\r\n" % (len(said), said))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with Redis.from_url(f"redis://127.0.0.1:{port}/0") as redis:
        script = Script(redis, "return ARGV[1]")
        assert await script.run(b"first") == b"first"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await script.run(b"late")

        assert await script.run(b"next") == b"next"
        await script.close()
    listening.close()


async def test_an_answer_that_never_comes_is_waited_for_once_on_its_connection() -> None:
    said: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a script once on each connection, then hear only."""
        nonlocal connections
        connections += 1
        commands = hiredis.Reader()
        evaluated = 0
        while data := await reader.read(65536):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                answer = b"sha"
                if command[0] == b"EVALSHA":
                    said.append(command[-1])
                    evaluated += 1
                    answer = orjson.dumps([{"state": [[7, 0]]}] * len(orjson.loads(command[-1])))
                if evaluated < 2:
                    writer.write(b"$%d\r\n%b\r\n" % (len(answer), answer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with Redis.from_url(f"redis://127.0.0.1:{port}/0") as redis:
        limiter = RateLimiter(redis, processes=1, wait_s=0.1)
        verdicts = [await limiter.take(ask(per_minute(10))) for _ in range(4)]
        await limiter.stop()

    listening.close()
    remaining = [verdict.states[0][0] for verdict in verdicts]
    assert (remaining, limiter.fallbacks) == ([7, 9, 7, 8], 2)
    assert connections == 2


@pytest.mark.parametrize("answer", [b"[]", b"[", b"[null,null]"])
async def test_another_answer_than_was_asked_for_is_none(
    limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    await limiter.take(ask(per_minute(5)))

    def mock(_: Script, argument: bytes, hear: Hear) -> None:
        hear(answer)

    with monkeypatch.context() as patch:
        patch.setattr(CountedScript, "send", mock)
        verdict = await limiter.take(ask(per_minute(5)))
    after = await limiter.take(ask(per_minute(5)))

    assert (verdict.refused, limiter.fallbacks) == (None, 1)
    assert after.states[0][0] == 3


async def test_redis_that_comes_back_is_asked_again(
    limiter: RateLimiter, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Script, "run", broken)
        for _ in range(FAILURES_TO_OPEN):
            await limiter.take(ask(per_minute(1000)))
    limiter._open_until = 0.0  # the second is over

    await limiter.take(ask(per_minute(1000)))

    assert (scripts_run(limiter), limiter.fallbacks) == (1, FAILURES_TO_OPEN)

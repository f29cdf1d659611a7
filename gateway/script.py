"""One script at Redis, asked again and again over one connection of its own.

redis-py opens the connection. What is said on it then is written and heard here: the client's
ordinary way, with a pool, locks, events and measurements around every command, was a third of what
asking for rate limits cost a process, and answers waited for their turn behind all ready calls.
"""

import asyncio
from collections.abc import Callable

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from kernel.loops import running_loop

Hear = Callable[[bytes | RedisError], None]


class Script:
    """For one caller at a time. A run may happen twice where its answer was lost on the way."""

    def __init__(self, redis: Redis, text: str) -> None:
        self._redis = redis
        self._text = text
        self._sha = b""
        self._connection: AbstractConnection | None = None
        self._replies: _Replies | None = None

    @property
    def is_ready(self) -> bool:
        """Tell whether ``send`` may be called; else ``run`` makes it so."""
        return bool(self._sha) and self._replies is not None and self._replies.is_open

    def send(self, argument: bytes, hear: Hear) -> None:
        """Run the script; ``hear`` is called with its answer, or with what went wrong."""
        assert self._replies is not None, "asked where it is ready"
        self._replies.ask((b"EVALSHA", self._sha, b"0", argument), hear)

    async def run(self, argument: bytes) -> bytes:
        """Return the script's answer. It is loaded where Redis does not have it.

        A connection that was lost while nobody used it is opened anew, once. Whoever is cancelled
        while waiting loses the connection: a late answer must not be taken for the next one.

        Raises:
            RedisError: when Redis is away, or the script fails.

        """
        try:
            return await self._evaluate(argument)
        except LostConnectionError:
            return await self._evaluate(argument)
        except NoScriptError:
            self._sha = b""
            return await self._evaluate(argument)

    def abandon(self) -> None:
        """Let go of a connection whose answer nobody waits for any more."""
        if self._replies is not None:
            self._replies.abort()

    async def close(self) -> None:
        """Close the connection; the client's pool may open it again."""
        if self._connection is not None:
            connection, self._connection, self._replies = self._connection, None, None
            await connection.disconnect(nowait=True)
            await self._redis.connection_pool.release(connection)

    async def _evaluate(self, argument: bytes) -> bytes:
        if self._replies is None or not self._replies.is_open:
            await self.close()
            await self._open()
        if not self._sha:
            self._sha = await self._await(b"SCRIPT", b"LOAD", self._text.encode())
        answer: asyncio.Future[bytes | RedisError] = running_loop().create_future()
        self.send(argument, _setter(answer))
        return await self._take(answer)

    async def _open(self) -> None:
        connection = await self._redis.connection_pool.get_connection()  # type: ignore[no-untyped-call] # a decorator hides its types
        self._connection = connection
        # redis-py has no public name for it
        self._replies = _Replies(connection._writer.transport)  # noqa: SLF001

    async def _await(self, *words: bytes) -> bytes:
        assert self._replies is not None, "just opened"
        answer: asyncio.Future[bytes | RedisError] = running_loop().create_future()
        self._replies.ask(words, _setter(answer))
        return await self._take(answer)

    async def _take(self, answer: "asyncio.Future[bytes | RedisError]") -> bytes:
        try:
            outcome = await answer
        except BaseException:
            self.abandon()
            raise
        if isinstance(outcome, RedisError):
            raise outcome
        return outcome


class _Replies(asyncio.Protocol):
    """Takes a connection over from its streams; one command at a time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._before = transport.get_protocol()
        self._reader = hiredis.Reader()
        self._hear: Hear | None = None
        self.is_open = not transport.is_closing()
        transport.set_protocol(self)

    def ask(self, words: tuple[bytes, ...], hear: Hear) -> None:
        assert self._hear is None, "one command at a time"
        if not self.is_open:
            hear(LostConnectionError("closed"))
            return
        self._hear = hear
        self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type] # any number of them

    def abort(self) -> None:
        self.is_open = False
        self._hear = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            reply = self._reader.gets()
        except hiredis.ProtocolError:
            reply = LostConnectionError("no reply")
            self._transport.abort()
        if reply is not False:
            self._say(_as_outcome(reply))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._say(LostConnectionError(str(exc)))
        self._before.connection_lost(exc)

    def _say(self, outcome: bytes | RedisError) -> None:
        hear, self._hear = self._hear, None
        if hear is not None:
            hear(outcome)


def _as_outcome(reply: object) -> bytes | RedisError:
    if isinstance(reply, bytes | RedisError):
        return reply
    if isinstance(reply, hiredis.ReplyError):
        is_unknown = str(reply).startswith("NOSCRIPT")
        return (NoScriptError if is_unknown else ResponseError)(str(reply))
    return ResponseError("another reply than a text")


def _setter(answer: "asyncio.Future[bytes | RedisError]") -> Hear:
    def hear(outcome: bytes | RedisError) -> None:
        if not answer.done():
            answer.set_result(outcome)

    return hear

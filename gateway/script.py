"""One script at Redis, asked again and again over one connection of its own.

The client's ordinary way takes a connection out of its pool for every command, with locks, events
and measurements around it; that was a third of what asking for rate limits cost a process.
"""

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import NoScriptError


class Script:
    """For one caller at a time. A run may happen twice where its answer was lost on the way."""

    def __init__(self, redis: Redis, text: str) -> None:
        self._redis = redis
        self._text = text
        self._sha = b""
        self._connection: AbstractConnection | None = None

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

    async def close(self) -> None:
        """Give the connection back to the client's pool."""
        if self._connection is not None:
            await self._redis.connection_pool.release(self._connection)
            self._connection = None

    async def _evaluate(self, argument: bytes) -> bytes:
        if self._connection is None:
            self._connection = await self._redis.connection_pool.get_connection()  # type: ignore[no-untyped-call] # a decorator hides its types
        if not self._sha:
            self._sha = await self._ask(self._connection, b"SCRIPT", b"LOAD", self._text.encode())
        return await self._ask(self._connection, b"EVALSHA", self._sha, b"0", argument)

    async def _ask(self, connection: AbstractConnection, *words: bytes) -> bytes:
        await connection.send_command(*words, check_health=False)
        answer: bytes = await connection.read_response()
        return answer

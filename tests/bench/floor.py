"""The floor under our figures: the same parts and round trips, with nothing of ours inside.

uvicorn on uvloop, a Channels consumer, a script at Redis, a row committed in PostgreSQL by group
commit before the upstream is asked and taken out afterwards, aiohttp to the upstream. No key,
limit, price, meter, journal, ledger or dialect; no fault is foreseen. What Tollgate takes beyond it
is Tollgate's own, and what it takes already no gateway of these parts can leave out.

Run it: ``python -m tests.bench.floor PORT UPSTREAM``, where the upstream's models are called by
their own names. ``DATABASE_URL`` and ``REDIS_URL`` say where the stores are.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import uvicorn
from channels.consumer import AsyncConsumer
from redis.asyncio import Redis

from tests.servers import Server, environment, free_port, running

TABLE = "create table if not exists floor_hold (id text primary key)"
COMMIT = (
    "with gone as (delete from floor_hold where id = any(%s))"
    " insert into floor_hold select unnest(%s::text[])"
)
SCRIPT = "return redis.call('incrby', KEYS[1], ARGV[1])"
Waiting = tuple[str, asyncio.Future[None]]


@contextmanager
def running_floor(upstream: str, folder: Path) -> Iterator[Server]:
    """Start it before ``upstream``, on the stores that this process is at home in."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.floor", str(port), upstream]
    with running(command, port, environment(), folder, ready="/healthz") as server:
        yield server


class Floor:
    """What the process keeps for its calls."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.redis = Redis.from_url(os.environ["REDIS_URL"])
        self.sha = ""
        self.connection: psycopg.AsyncConnection[Any]
        self.session: aiohttp.ClientSession
        self._holds: list[Waiting] = []
        self._gone: list[str] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self.sha = await self.redis.script_load(SCRIPT)
        self.connection = await psycopg.AsyncConnection.connect(
            os.environ["DATABASE_URL"], autocommit=True
        )
        await self.connection.execute(TABLE)
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=8192), auto_decompress=False
        )

    async def hold(self, call_id: str) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._holds.append((call_id, waiting))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await waiting

    def let_go(self, call_id: str) -> None:
        """Take a row out, with the next batch."""
        self._gone.append(call_id)

    async def _write(self) -> None:
        while self._holds:
            holds, self._holds = self._holds, []
            gone, self._gone = self._gone, []
            await self.connection.execute(
                COMMIT, (gone, [call_id for call_id, _ in holds]), prepare=True
            )
            for _, waiting in holds:
                waiting.set_result(None)


class FloorConsumer(AsyncConsumer):
    """Serves every path: reads the body, holds, asks the upstream, relays what comes."""

    floor: Floor

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        floor, call_id = self.floor, uuid4().hex
        await floor.redis.evalsha(floor.sha, 1, "floor", 1)
        await floor.hold(call_id)
        response = await floor.session.post(
            floor.upstream + scope["path"], data=body, headers={"content-type": "application/json"}
        )
        kind = response.headers["content-type"].encode()
        head = [(b"content-type", kind)]
        if kind.startswith(b"text/event-stream"):
            await send({"type": "http.response.start", "status": 200, "headers": head})
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            answer = await response.read()
            head.append((b"content-length", b"%d" % len(answer)))
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": answer})
        floor.let_go(call_id)


def main(port: int, upstream: str) -> None:
    FloorConsumer.floor = Floor(upstream)
    serve = FloorConsumer.as_asgi()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await FloorConsumer.floor.open()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await serve(scope, receive, send)

    uvicorn.run(application, port=port, loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

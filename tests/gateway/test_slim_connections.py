"""What uvicorn keeps of a connection is kept in slots, flags and a list, and works as before."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.heads import BoundedHttpProtocol

MUCH = 8 << 20


async def application(scope: Any, _receive: Any, send: Any) -> None:
    """Answer with the path, and with eight megabytes behind it where that is /much."""
    body = scope["path"].encode() + b"." * (MUCH if scope["path"] == "/much" else 0)
    await asyncio.sleep(0.01)
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for start in range(0, len(body), 1 << 20):
        piece, is_last = body[start : start + (1 << 20)], start + (1 << 20) >= len(body)
        await send({"type": "http.response.body", "body": piece, "more_body": not is_last})


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocols: list[BoundedHttpProtocol] = field(default_factory=list)

    def ask(self, *paths: str) -> None:
        asked = [f"GET {path} HTTP/1.1\r\nhost: acme\r\n\r\n" for path in paths]
        self.writer.write("".join(asked).encode())

    async def hear(self, size: int) -> bytes:
        """Return the body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        return await self.reader.readexactly(size)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    config = uvicorn.Config(application, loop="asyncio", ws="none", lifespan="off", log_config=None)
    config.load()
    made: list[BoundedHttpProtocol] = []

    def make() -> BoundedHttpProtocol:
        made.append(BoundedHttpProtocol(config=config, server_state=ServerState(), app_state={}))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    client = Client(*await asyncio.open_connection(*server.sockets[0].getsockname()), made)
    yield client
    client.writer.close()
    server.close()


async def test_a_connection_has_nothing_but_slots(client: Client) -> None:
    client.ask("/a")

    assert await client.hear(2) == b"/a"
    assert [vars(protocol) for protocol in client.protocols] == [{}]


async def test_requests_in_one_write_are_answered_in_their_order(client: Client) -> None:
    client.ask("/a", "/b", "/c")

    assert [await client.hear(2) for _ in range(3)] == [b"/a", b"/b", b"/c"]


async def test_who_reads_late_gets_all_of_it_and_the_next_answer(client: Client) -> None:
    client.ask("/much")
    await asyncio.sleep(0.2)
    assert client.protocols[0].flow.write_paused

    assert len(await client.hear(len("/much") + MUCH)) == len("/much") + MUCH
    client.ask("/a")
    assert await client.hear(2) == b"/a"

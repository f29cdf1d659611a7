"""An answer is written in one piece where it is one, and as HTTP has it, whatever it is."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.exchanges import DEPARTURE, SlimHttpProtocol

IDLE_S = 0.1
START = "http.response.start"
BODY = "http.response.body"
Script = Sequence[Mapping[str, Any] | float]


class Wire(asyncio.Transport):
    """Keeps what is written, one entry a write."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.writes.append(b"".join(list_of_data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        """Nothing reads here."""

    def resume_reading(self) -> None:
        """Nothing reads here."""


class Caller:
    """Asks an application that follows a script."""

    def __init__(self) -> None:
        self.script: Script = ()
        self.fault: BaseException | None = None
        self.wire = Wire()
        config = uvicorn.Config(
            self.serve, interface="asgi3", ws="none", lifespan="off", log_config=None
        )
        config.timeout_keep_alive = IDLE_S  # type: ignore[assignment] # whole seconds are long here
        config.load()
        self.protocol = SlimHttpProtocol(config=config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self.wire)

    async def serve(self, _scope: Any, _receive: Any, send: Any) -> None:
        try:
            for step in self.script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    await send(step)
        except RuntimeError as fault:
            self.fault = fault

    async def ask(
        self, *script: Mapping[str, Any] | float, method: str = "GET", more: str = ""
    ) -> None:
        """Ask, and wait until all is written."""
        self.script = script
        self.protocol.data_received(
            f"{method} /a%20b?c=d HTTP/1.1\r\nhost: acme\r\n{more}\r\n".encode()
        )
        for _ in range(50):
            await asyncio.sleep(0.002)
            if self.protocol.cycle.response_complete or self.fault is not None:
                return


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = Caller()
    yield caller
    caller.protocol.connection_lost(None)


def begin(*headers: tuple[bytes, bytes], status: int = 200) -> Mapping[str, Any]:
    return {"type": START, "status": status, "headers": [*headers]}


def piece(body: bytes, *, more: bool = False) -> Mapping[str, Any]:
    return {"type": BODY, "body": body, "more_body": more}


async def test_a_whole_answer_is_one_write(caller: Caller) -> None:
    await caller.ask(begin((b"Content-Length", b"2"), (b"x-a", b"b")), piece(b"hi"))

    assert caller.wire.writes == [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-a: b\r\n\r\nhi"]
    assert not caller.wire.is_closed


async def test_a_stream_is_a_write_for_each_piece_and_its_end_is_in_the_last(
    caller: Caller,
) -> None:
    await caller.ask(begin(), piece(b"one", more=True), piece(b"", more=True), piece(b"three"))

    assert caller.wire.writes == [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        b"5\r\nthree\r\n0\r\n\r\n",
    ]


async def test_a_head_waits_for_the_first_piece_however_empty(caller: Caller) -> None:
    await caller.ask(begin(), 0.01, piece(b"", more=True), 0.01, piece(b"late"))

    assert caller.wire.writes == [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"4\r\nlate\r\n0\r\n\r\n",
    ]


async def test_what_is_large_goes_out_whole(caller: Caller) -> None:
    body = bytes(200_000)
    await caller.ask(begin((b"content-length", b"%d" % len(body))), piece(body))

    assert b"".join(caller.wire.writes).endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none(caller: Caller, status: int) -> None:
    await caller.ask(begin(status=status), piece(b""))

    [written] = caller.wire.writes
    assert b"transfer-encoding" not in written
    assert written.endswith(b"\r\n\r\n")


async def test_head_is_answered_with_a_head_alone(caller: Caller) -> None:
    await caller.ask(begin((b"content-length", b"5")), piece(b"hello"), method="HEAD")

    assert caller.wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"]


async def test_who_asks_for_an_end_gets_it_after_the_answer(caller: Caller) -> None:
    await caller.ask(begin((b"content-length", b"0")), piece(b""), more="connection: close\r\n")

    assert caller.wire.writes == [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ]
    assert caller.wire.is_closed


async def test_an_answer_that_ends_the_connection_says_so_once(caller: Caller) -> None:
    await caller.ask(begin((b"connection", b"close"), (b"content-length", b"0")), piece(b""))

    assert caller.wire.writes[0].count(b"connection: close") == 1
    assert caller.wire.is_closed


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_header_can_not_end_itself(caller: Caller, value: bytes) -> None:
    await caller.ask(begin((b"x-a", value)), piece(b""))

    assert isinstance(caller.fault, RuntimeError)
    assert b"set-cookie" not in b"".join(caller.wire.writes)


@pytest.mark.parametrize(
    "script",
    [
        (piece(b"too early"),),
        (begin(), begin()),
        (begin(), piece(b""), piece(b"too late")),
        (begin((b"content-length", b"2")), piece(b"too long")),
        (begin((b"content-length", b"2")), piece(b"-")),
        (begin(), {"type": "http.response.trailers"}),
    ],
)
async def test_what_an_application_may_not_say_is_refused(caller: Caller, script: Script) -> None:
    await caller.ask(*script)

    assert isinstance(caller.fault, RuntimeError)


async def test_after_the_caller_has_left_nothing_is_written(caller: Caller) -> None:
    caller.script = (0.01, begin(), piece(b"", more=True), 0.01, piece(b"late"))
    caller.protocol.data_received(b"GET / HTTP/1.1\r\nhost: acme\r\n\r\n")
    caller.protocol.connection_lost(ConnectionResetError())
    await asyncio.sleep(0.05)

    assert caller.wire.writes == []
    assert caller.fault is None


async def test_what_was_asked_is_told_as_asgi_has_it(caller: Caller) -> None:
    await caller.ask(begin((b"content-length", b"0")), piece(b""))

    scope = caller.protocol.scope
    assert scope["method"] == "GET"
    assert scope["path"] == "/a b"
    assert scope["raw_path"] == b"/a%20b"
    assert scope["query_string"] == b"c=d"
    assert scope["http_version"] == "1.1"


async def test_a_connection_that_nobody_uses_is_closed(caller: Caller) -> None:
    await caller.ask(begin((b"content-length", b"0")), piece(b""))
    assert not caller.wire.is_closed

    await asyncio.sleep(3 * IDLE_S)

    assert caller.wire.is_closed


async def test_one_that_is_used_now_and_then_is_not(caller: Caller) -> None:
    for _ in range(6):
        await caller.ask(begin((b"content-length", b"0")), piece(b""))
        await asyncio.sleep(IDLE_S / 2)

    assert not caller.wire.is_closed
    assert len(caller.wire.writes) == 6


@pytest.mark.parametrize("said", [b"GET / HT", b"GET / HTTP/1.1\r\nhost: acme\r\n\r\n"])
async def test_who_has_begun_to_ask_or_waits_for_an_answer_is_not_idle(
    caller: Caller, said: bytes
) -> None:
    await caller.ask(begin((b"content-length", b"0")), piece(b""))
    caller.script = (5 * IDLE_S,)
    caller.protocol.data_received(said)

    await asyncio.sleep(3 * IDLE_S)

    assert not caller.wire.is_closed


def watch(told: list[str], name: str = "left") -> Mapping[str, Any]:
    return {"type": DEPARTURE, "tell": lambda: told.append(name)}


async def test_who_serves_is_told_once_that_the_caller_has_left(caller: Caller) -> None:
    told: list[str] = []
    caller.script = [watch(told), begin(), piece(b"one", more=True), 5.0]
    caller.protocol.data_received(b"GET / HTTP/1.1\r\nhost: acme\r\n\r\n")
    await asyncio.sleep(0.01)
    assert DEPARTURE in caller.protocol.cycle.scope["extensions"]
    assert told == []

    caller.protocol.connection_lost(None)
    caller.protocol.connection_lost(None)

    assert told == ["left"]


async def test_nobody_is_told_of_a_caller_who_leaves_with_the_answer(caller: Caller) -> None:
    told: list[str] = []
    await caller.ask(watch(told, "first"), begin(), piece(b"one"))
    await caller.ask(watch(told, "second"), begin(), piece(b"two"))

    caller.protocol.connection_lost(None)

    assert told == []


async def test_who_asks_after_the_departure_is_told_at_once(caller: Caller) -> None:
    told: list[str] = []
    caller.script = [0.01, watch(told), begin()]
    caller.protocol.data_received(b"GET / HTTP/1.1\r\nhost: acme\r\n\r\n")
    caller.protocol.connection_lost(None)
    await asyncio.sleep(0.03)

    assert told == ["left"]

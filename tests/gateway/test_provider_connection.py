"""A connection to a provider: what it makes of the bytes that come, however they are cut."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.connection import HIGH_BYTES, MOST_HEAD_BYTES, ProviderConnection
from kernel.errors import TollgateError, UpstreamError, UpstreamTimeoutError

SIZED = b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nContent-Length: 11\r\n\r\nHello there"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"6\r\nHello \r\n5;name=x\r\nthere\r\n0\r\nx-trailer: 1\r\n\r\n"
)
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\nHello there"
CONTINUED = b"HTTP/1.1 100 Continue\r\nretry-after: 9\r\n\r\n" + SIZED


class Socket:
    """Stands where a transport would, and notes what is done to it."""

    def __init__(self) -> None:
        self.written = b""
        self.is_paused = False
        self.is_closed = False

    def writelines(self, pieces: Any) -> None:
        self.written += b"".join(pieces)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Loop:
    """No connection asks for more of its loop before somebody waits."""


def connect() -> tuple[ProviderConnection, Socket]:
    connection, transport = ProviderConnection(Loop()), Socket()  # type: ignore[arg-type] # see there
    connection.connection_made(transport)  # type: ignore[arg-type] # as much of one as it uses
    return connection, transport


def ask(said: bytes) -> tuple[ProviderConnection, Socket]:
    """Return a connection that has asked and heard ``said`` at once."""
    connection, transport = connect()
    connection.ask(b"POST ", b"{}")
    connection.data_received(said)
    return connection, transport


def take_all(connection: ProviderConnection, most: int = 1 << 20) -> bytes:
    body = b""
    while piece := connection.take(most):
        body += piece
    assert piece is not None, "the answer is whole"
    return body


@given(said=st.sampled_from([SIZED, CHUNKED, UNTIL_CLOSED, CONTINUED]), data=st.data())
def test_an_answer_is_the_same_however_its_bytes_are_cut(said: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.integers(1, len(said) - 1)).map(sorted))
    connection, _ = connect()
    connection.ask(b"POST ", b"{}")

    for start, end in pairwise([0, *cuts, len(said)]):
        connection.data_received(said[start:end])
    if said is UNTIL_CLOSED:
        connection.connection_lost(None)

    assert connection.check_head()
    assert (connection.status, take_all(connection)) == (200, b"Hello there")
    assert connection.headers.get(b"retry-after") == (b"7" if b"11" in said else None)


@pytest.mark.parametrize("said", [SIZED, CHUNKED, CONTINUED])
def test_a_whole_answer_leaves_the_connection_fit_for_the_next(said: bytes) -> None:
    connection, transport = ask(said)
    take_all(connection)

    assert connection.is_connected()
    connection.ask(b"POST 2", b"")
    connection.data_received(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}")

    assert (connection.status, take_all(connection)) == (404, b"{}")
    assert connection.headers == {}
    assert transport.written == b"POST {}POST 2"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n",
    ],
)
def test_a_provider_that_closes_is_not_asked_again_on_that_connection(head: bytes) -> None:
    connection, _ = ask(head + b"{}")

    assert take_all(connection) == b"{}"
    assert not connection.is_connected()


@pytest.mark.parametrize("more", [b"H", SIZED, b"\x00"])
def test_bytes_behind_an_answer_are_nobodys_and_end_the_connection(more: bytes) -> None:
    connection, transport = ask(SIZED)
    assert take_all(connection) == b"Hello there"

    connection.data_received(more)

    assert transport.is_closed
    assert not connection.is_connected()


def test_a_second_answer_in_the_same_bytes_is_not_part_of_the_first() -> None:
    connection, _ = ask(SIZED + b"HTTP/1.1 500 No\r\nretry-after: 1\r\ncontent-length: 1\r\n\r\nx")

    assert (connection.status, take_all(connection)) == (200, b"Hello there")
    assert connection.headers == {b"retry-after": b"7"}
    assert not connection.is_connected()


def test_bytes_before_a_question_end_the_connection() -> None:
    connection, transport = connect()

    connection.data_received(SIZED)

    assert transport.is_closed
    assert not connection.is_connected()


@pytest.mark.parametrize(
    ("said", "got"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-le", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nHello", b"Hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nHello\r\n", b"Hello"),
    ],
)
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_what_came_before_a_break_is_taken_first(
    said: bytes, got: bytes, error: Exception | None
) -> None:
    connection, _ = ask(said)

    connection.connection_lost(error)

    if got:
        assert connection.take(1 << 20) == got
    with pytest.raises(UpstreamError, match="broke off"):
        connection.take(1 << 20)


def test_a_reset_is_no_end_of_a_body_without_a_length() -> None:
    connection, _ = ask(UNTIL_CLOSED)

    connection.connection_lost(ConnectionResetError())

    assert connection.take(1 << 20) == b"Hello there"
    with pytest.raises(UpstreamError, match="broke off"):
        connection.take(1 << 20)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_http_ends_the_exchange(said: bytes) -> None:
    connection, transport = ask(said)

    with pytest.raises(UpstreamError, match="does not speak HTTP"):
        connection.take(1 << 20)
    assert transport.is_closed


@pytest.mark.parametrize(
    "begun",
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"],
)
def test_headers_and_trailers_are_bounded(begun: bytes) -> None:
    connection, transport = ask(begun)

    for _ in range(MOST_HEAD_BYTES // 1000 + 1):
        connection.data_received(b"x-noise: " + b"n" * 1000 + b"\r\n")

    with pytest.raises(UpstreamError, match="too many headers"):
        connection.take(1 << 20)
    assert transport.is_closed


def test_a_body_of_any_length_is_no_head() -> None:
    size = 4 * MOST_HEAD_BYTES
    connection, _ = ask(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)

    for _ in range(4):
        connection.data_received(b"x" * MOST_HEAD_BYTES)
        assert connection.take(1 << 20) == b"x" * MOST_HEAD_BYTES


def test_who_does_not_take_holds_the_provider_up() -> None:
    connection, transport = ask(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")

    paused = []
    for size in (HIGH_BYTES, 1):
        connection.data_received(b"x" * size)
        paused.append(transport.is_paused)
    for _ in range(2):
        assert connection.take(HIGH_BYTES // 2) == b"x" * (HIGH_BYTES // 2)
        paused.append(transport.is_paused)

    assert paused == [False, True, True, False]


@pytest.mark.parametrize("said", [SIZED, CHUNKED, CONTINUED])
def test_an_answer_is_taken_whole_once_its_end_is_there(said: bytes) -> None:
    connection, transport = ask(said[:-3])
    assert connection.take_whole() is None
    assert connection.take(6) == b"Hello "

    connection.data_received(said[-3:])

    assert connection.take_whole() == b"there"
    assert connection.take_whole() == b""
    assert connection.is_connected()
    connection.ask(b"POST ", b"{}")
    assert connection.take_whole() is None
    assert not transport.is_closed


def test_who_takes_a_large_answer_whole_lets_the_provider_go_on() -> None:
    length = 2 * HIGH_BYTES
    connection, transport = ask(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)
    connection.data_received(b"x" * length)
    assert transport.is_paused

    assert connection.take_whole() == b"x" * length
    assert not transport.is_paused


def test_what_breaks_off_is_never_whole() -> None:
    connection, _ = ask(SIZED[:-3])
    connection.connection_lost(None)

    assert connection.take_whole() is None


async def test_whoever_waits_is_woken_by_bytes_by_a_break_and_by_time() -> None:
    connection = ProviderConnection(asyncio.get_running_loop())
    connection.connection_made(Socket())  # type: ignore[arg-type] # as much of one as it uses
    connection.ask(b"POST ", b"{}")

    waiting = connection.arrival()
    connection.data_received(SIZED[:60])
    await waiting
    waiting = connection.arrival(timeout_s=60)
    connection.connection_lost(None)
    await waiting

    with pytest.raises(TollgateError):
        take_all(connection)


@pytest.mark.parametrize("more", [b"", b"0\r\n\r\n", b"\x00", SIZED])
async def test_whoever_waits_is_woken_by_the_end_whatever_stands_behind_it(more: bytes) -> None:
    connection = ProviderConnection(asyncio.get_running_loop())
    connection.connection_made(Socket())  # type: ignore[arg-type] # as much of one as it uses
    connection.ask(b"POST ", b"{}")

    waiting = connection.arrival()
    connection.data_received(SIZED + more)
    await asyncio.wait_for(waiting, timeout=20)

    assert take_all(connection) == b"Hello there"


async def test_a_wait_with_a_time_ends_with_the_exchange() -> None:
    connection = ProviderConnection(asyncio.get_running_loop())
    connection.connection_made(Socket())  # type: ignore[arg-type] # as much of one as it uses
    connection.ask(b"POST ", b"{}")

    await connection.arrival(timeout_s=0)

    with pytest.raises(UpstreamTimeoutError, match="stopped answering"):
        connection.check_head()
    assert not connection.is_connected()

"""Request heads: bounded in bytes and in time, whoever drips, floods or only holds a connection."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from billing.models import Hold
from tests.calls import CHAT, RawStream, chat_body, post
from tests.stage import House, Stage, open_house

MOST = 16 * 1024
HEAD_TIMEOUT_S = 2
BODY_TIMEOUT_S = 30
GENEROUS_S = 25
MESSAGES = "/anthropic/v1/messages"


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(
        django_db_blocker,
        folder,
        HEAD_TIMEOUT_S=str(HEAD_TIMEOUT_S),
        BODY_TIMEOUT_S=str(BODY_TIMEOUT_S),
    ) as opened:
        yield opened


def connect(stage: Stage) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stage.api.port), timeout=GENEROUS_S)


def head_of(stage: Stage, *headers: str, path: str = CHAT, length: int = 0) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {stage.acme.key_text}",
        "content-type: application/json",
        f"content-length: {length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def call_of(stage: Stage, *headers: str) -> bytes:
    body = json.dumps(chat_body(mock={"chunks": 1})).encode()
    return head_of(stage, *headers, length=len(body)) + body


def read_all(caller: socket.socket) -> bytes:
    received = b""
    while data := caller.recv(65536):
        received += data
    return received


def read_answer(caller: socket.socket) -> int:
    """Read one whole answer and return its status."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += caller.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(lines[b"content-length"]):
        body += caller.recv(65536)
    return int(head.split()[1])


@pytest.mark.parametrize("size", [17 * 1024, 200 * 1024, 4 * 2**20])
@pytest.mark.parametrize(("path", "kind"), [(CHAT, "error"), (MESSAGES, "type")])
def test_a_head_that_is_too_large_is_431_and_touches_nothing(
    stage: Stage, size: int, path: str, kind: str
) -> None:
    with connect(stage) as caller:
        caller.sendall(head_of(stage, "x-large: " + "x" * size, path=path))
        head, _, body = read_all(caller).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in head
    assert next(iter(json.loads(body))) == kind, "in the caller's dialect"
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


@pytest.mark.parametrize(
    "flood",
    [b"x-a: b\r\n" * 10_000, b"x-a: " + b"x" * 100_000, b"x" * 100_000],
    ids=["headers", "value", "name"],
)
def test_a_head_without_end_is_431_before_it_is_whole(stage: Stage, flood: bytes) -> None:
    with connect(stage) as caller:
        caller.sendall(head_of(stage)[:-2] + flood)

        assert read_all(caller).startswith(b"HTTP/1.1 431 ")


def test_an_address_without_end_is_431(stage: Stage) -> None:
    with connect(stage) as caller:
        caller.sendall(b"GET /v1/models?" + b"a" * 100_000)

        assert read_all(caller).startswith(b"HTTP/1.1 431 ")


def test_a_long_query_is_no_header(stage: Stage) -> None:
    with connect(stage) as caller:
        head = head_of(stage).removeprefix(f"POST {CHAT}".encode())
        caller.sendall(b"GET /v1/models?" + b"a=b&" * 10_000 + head)

        assert read_answer(caller) == 200


def test_a_head_of_nearly_sixteen_kib_is_served(stage: Stage) -> None:
    room = MOST - len(head_of(stage)) - 200
    with connect(stage) as caller:
        caller.sendall(call_of(stage, "x-large: " + "x" * room))

        assert read_answer(caller) == 200


def test_a_large_head_behind_a_body_in_one_piece_is_refused_too(stage: Stage) -> None:
    with connect(stage) as caller:
        caller.sendall(call_of(stage) + call_of(stage, "x-large: " + "x" * 40_000))
        answered = read_all(caller)

    assert answered.count(b"HTTP/1.1 200 ") <= 1
    assert b"chat.completion" not in answered.partition(b"HTTP/1.1 431 ")[2]


def test_trailers_without_end_cut_the_call(stage: Stage) -> None:
    head = head_of(stage).replace(b"content-length: 0", b"transfer-encoding: chunked")
    with connect(stage) as caller:
        began_at = time.monotonic()
        with suppress(OSError):
            caller.sendall(head + b"2\r\n{}\r\n0\r\n" + b"x-trailer: " + b"x" * 4 * 2**20)
            assert read_all(caller) == b""

    assert time.monotonic() - began_at < BODY_TIMEOUT_S
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


@pytest.mark.parametrize("said", [b"", b"\r\n", b"POST /v1/chat"])
def test_a_connection_that_says_too_little_is_closed(stage: Stage, said: bytes) -> None:
    with connect(stage) as caller:
        caller.sendall(said)

        assert caller.recv(1) == b""


def test_a_head_that_drips_is_closed_and_not_given_more_time_for_it(stage: Stage) -> None:
    began_at = time.monotonic()
    with connect(stage) as caller:
        caller.settimeout(0.2)
        left = iter(head_of(stage, "x-long: " + "x" * 2_000))
        is_closed = False
        while not is_closed and time.monotonic() - began_at < GENEROUS_S:
            try:
                caller.sendall(bytes([next(left)]))
                is_closed = caller.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                is_closed = True

    assert is_closed
    assert time.monotonic() - began_at >= HEAD_TIMEOUT_S - 0.5


def test_a_second_head_that_drips_is_closed_too(stage: Stage) -> None:
    with connect(stage) as caller:
        caller.sendall(call_of(stage))
        assert read_answer(caller) == 200
        caller.sendall(b"POST /v1/")

        assert caller.recv(1) == b""


def test_a_connection_idle_after_its_call_is_closed(stage: Stage) -> None:
    with connect(stage) as caller:
        caller.sendall(call_of(stage))
        assert read_answer(caller) == 200

        assert caller.recv(1) == b""


def test_a_call_that_takes_longer_than_its_head_may_is_served(stage: Stage) -> None:
    delay_ms = (HEAD_TIMEOUT_S + 1) * 1000
    body = chat_body(mock={"head_after_ms": delay_ms, "chunks": 1})

    assert post(stage.api.url, stage.acme.key_text, body).status_code == 200


def test_what_is_no_http_in_mid_stream_never_ends_up_in_the_answer(stage: Stage) -> None:
    body = chat_body(stream=True, mock={"chunks": 100, "delay_ms": 20})
    stream = RawStream(stage.api.port, stage.acme.key_text, body)
    stream.read_words(5)

    stream.socket.sendall(b"\0\0\0 no http \r\n\r\n")
    received = stream.read_until(lambda _: False)

    assert b" 400 " not in received

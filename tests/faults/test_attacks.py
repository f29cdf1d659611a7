"""Upstreams and callers that mean harm: bounded memory, a plain refusal, no money moved."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import CHAT, chat_body, frames, post, text_of, transcript, wait_for
from tests.factories import offer_evil
from tests.fakes.hostile import STREAM, HostileUpstream
from tests.fakes.upstream import HEAD, WORD, ending, frame, http_chunk
from tests.stage import House, Stage, open_house

MIB = 2**20
MOST_PER_STREAM = 2 * MIB
AT_ONCE = 4


def gigabyte_chunk() -> Iterator[bytes]:
    """One chunk of a gigabyte, all of it one line."""
    yield STREAM + b"transfer-encoding: chunked\r\n\r\n40000000\r\ndata: "
    for _ in range(1024):
        yield b"x" * MIB


def endless_line() -> Iterator[bytes]:
    yield STREAM + b"\r\n"
    for _ in range(1024):
        yield b"x" * MIB


def endless_answer() -> Iterator[bytes]:
    """A whole answer that never ends."""
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"
    for _ in range(1024):
        yield b" " * MIB


def tiny_chunks(words: int) -> Iterator[bytes]:
    """Every byte in a chunk of its own: two hundred a word."""
    yield HEAD
    body = frame("up-1", {"role": "assistant", "content": ""})
    body += frame("up-1", {"content": WORD}) * words
    body += ending("up-1", words, usage=True)
    for start in range(0, len(body), 512):
        yield b"".join(http_chunk(body[at : at + 1]) for at in range(start, start + 512))
    yield b"0\r\n\r\n"


def endless_head() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(1024):
        yield b"x-%d: " % number + b"x" * MIB + b"\r\n"


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileUpstream]:
    target = socket.create_server(("127.0.0.1", 0))
    target.settimeout(0.2)

    def redirect() -> Iterator[bytes]:
        port = target.getsockname()[1]
        yield (
            b"HTTP/1.1 307 Look there\r\nlocation: http://127.0.0.1:%d/latest/meta-data\r\n"
            b"content-length: 0\r\n\r\n" % port
        )

    attacks = (gigabyte_chunk, endless_line, endless_answer, endless_head, redirect)
    tiny = {f"tiny_chunks_{words}": partial(tiny_chunks, words) for words in (500, 5000)}
    upstream = HostileUpstream({attack.__name__: attack for attack in attacks} | tiny)
    yield upstream
    upstream.close()
    with pytest.raises(TimeoutError):
        target.accept()
    target.close()


@pytest.fixture(scope="module")
def house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, hostile: HostileUpstream
) -> Iterator[House]:
    def prepare() -> None:
        offer_evil(hostile.url)

    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=prepare, BODY_TIMEOUT_S="2") as opened:
        yield opened


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def attack(stage: Stage, name: str, *, stream: bool = True) -> Any:
    body = chat_body("evil", stream=stream, mock={"attack": name})
    return post(stage.api.url, stage.acme.key_text, body)


def assert_nothing_moved(stage: Stage) -> None:
    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: not mine.filter(state="held").exists())
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("name", ["gigabyte_chunk", "endless_line", "endless_head"])
def test_what_has_no_end_is_an_upstreams_fault_in_bounded_memory_and_costs_nothing(
    stage: Stage, hostile: HostileUpstream, name: str
) -> None:
    attack(stage, name)  # what is allocated once is there
    forget_peak(stage.api.pid)
    before = peak_bytes(stage.api.pid)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: attack(stage, name), range(AT_ONCE)))

    assert [(a.status_code, a.json()["error"]["code"]) for a in answers] == [
        (502, "upstream_error")
    ] * AT_ONCE
    assert peak_bytes(stage.api.pid) - before <= AT_ONCE * MOST_PER_STREAM
    assert hostile.sent_bytes[name] < 64 * MIB, "the connection was let go"
    assert_nothing_moved(stage)


def test_a_whole_answer_without_end_is_an_upstreams_fault_and_costs_nothing(
    stage: Stage, hostile: HostileUpstream
) -> None:
    answer = attack(stage, "endless_answer", stream=False)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert hostile.sent_bytes["endless_answer"] < 100 * MIB
    assert_nothing_moved(stage)


@pytest.mark.parametrize("words", [500, pytest.param(5000, marks=pytest.mark.long)])
def test_an_answer_in_chunks_of_one_byte_is_relayed_whole(stage: Stage, words: int) -> None:
    """The long form is a million chunks in each of the streams."""

    def at_once(words: int) -> list[Any]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda _: attack(stage, f"tiny_chunks_{words}"), range(AT_ONCE)))

    at_once(500)  # what is allocated once is there
    forget_peak(stage.api.pid)
    before = peak_bytes(stage.api.pid)

    answers = at_once(words)

    assert [text_of(frames(answer.text)) for answer in answers] == [WORD * words] * AT_ONCE
    assert peak_bytes(stage.api.pid) - before <= AT_ONCE * MOST_PER_STREAM
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk).order_by("-occurred_at")
    wait_for(lambda: rows.count() == 2 * AT_ONCE, what="the usage rows")
    assert [(row.outcome, row.output) for row in rows[:AT_ONCE]] == [("completed", words)] * AT_ONCE


def test_a_redirect_is_not_followed(stage: Stage, hostile: HostileUpstream) -> None:
    before = hostile.connections

    answer = attack(stage, "redirect")

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert hostile.connections - before == 1
    assert_nothing_moved(stage)


def test_a_burst_of_refusals_is_not_answered_by_a_burst_of_retries(stage: Stage) -> None:
    body = chat_body(user="burst", mock={"status": 500})

    statuses = [post(stage.api.url, stage.acme.key_text, body).status_code for _ in range(20)]

    assert statuses == [502] * 20
    asked = [e for e in transcript(stage.upstream.url) if e["user"] == "burst"]
    assert len(asked) == 20
    assert_nothing_moved(stage)


def connect(stage: Stage, headers: str, body: bytes = b"") -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", stage.api.port), timeout=20)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {stage.acme.key_text}"
        f"\r\ncontent-type: application/json\r\n{headers}\r\n"
    )
    caller.sendall(head.encode() + body)
    return caller


def answer_of(caller: socket.socket) -> tuple[int, str]:
    received = b""
    while b"\r\n\r\n" not in received or not received.rstrip().endswith(b"}"):
        data = caller.recv(65536)
        if not data:
            break
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), str(json.loads(body)["error"]["code"])


def test_a_body_that_drips_is_408_and_touches_nothing(stage: Stage) -> None:
    with connect(stage, "content-length: 1000\r\n", b"{") as caller:
        began_at = time.monotonic()
        caller.settimeout(0.2)
        answered = b""
        while not answered and time.monotonic() - began_at < 20:
            caller.sendall(b" ")
            try:
                answered = caller.recv(65536, socket.MSG_PEEK)
            except TimeoutError:
                continue
        caller.settimeout(5)

        assert answer_of(caller) == (408, "request_timeout")
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


def test_a_hundred_megabytes_are_413_before_they_are_read(stage: Stage) -> None:
    with connect(stage, f"content-length: {100 * MIB}\r\n") as caller:
        assert answer_of(caller) == (413, "request_too_large")
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


def test_a_compressed_body_is_415(stage: Stage) -> None:
    bomb = gzip.compress(json.dumps(chat_body()).encode())
    headers = f"content-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n"

    with connect(stage, headers, bomb) as caller:
        assert answer_of(caller) == (415, "unsupported_media_type")
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_a_body_nested_thousands_deep_is_400(stage: Stage, depth: int) -> None:
    body = b'{"model":"mock","messages":' + b"[" * depth + b"]" * depth + b"}"

    assert post(stage.api.url, stage.acme.key_text, body).status_code == 400
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_beside_thousands_of_idle_connections_calls_are_served(stage: Stage, count: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", stage.api.port)) for _ in range(count)]
    try:
        answers = [
            post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 1}))
            for _ in range(20)
        ]
    finally:
        for connection in idle:
            connection.close()

    assert [answer.status_code for answer in answers] == [200] * 20

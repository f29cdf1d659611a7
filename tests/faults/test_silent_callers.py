"""Callers that ask for a stream and never read it: cut, bounded in memory, billed what was sent."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import CHAT, WORD, chat_body, transcript, wait_for
from tests.fakes.upstream import WORD as TEXT
from tests.fakes.upstream import frame
from tests.stage import House, Stage, open_house

WORDS = 8000
UNREAD_S = 3
FRAME_BYTES = len(frame("up-1", {"content": TEXT}))
MOST_BUFFERED = 256 * 1024
MOST_A_STREAM = 2**20  # what was read ahead of the upstream is not billed


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, UNREAD_S=str(UNREAD_S)) as opened:
        yield opened


def call_without_reading(stage: Stage, user: str) -> socket.socket:
    body = chat_body(stream=True, user=user, mock={"chunks": WORDS})
    payload = json.dumps(body).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {stage.acme.key_text}"
        f"\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.settimeout(20)
    caller.connect(("127.0.0.1", stage.api.port))
    caller.sendall(head.encode() + payload)
    return caller


def drain(caller: socket.socket) -> bytes:
    """Return what the caller could still read of a connection that was cut."""
    received = b""
    try:
        while data := caller.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    finally:
        caller.close()
    return received


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.long)])
def test_callers_who_never_read_are_cut_and_billed_what_was_sent(stage: Stage, count: int) -> None:
    before = resident_bytes(stage.api.pid)

    callers = [call_without_reading(stage, f"silent-{count}") for _ in range(count)]
    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: mine.filter(state="held").count() == count, what="all calls' holds")
    grown = 0

    def all_cut() -> bool:
        nonlocal grown
        grown = max(grown, resident_bytes(stage.api.pid) - before)
        return not mine.filter(state="held").exists()

    wait_for(all_cut, seconds=UNREAD_S + 30, what="the cutting of all callers")
    read = [drain(caller) for caller in callers]
    lines = [line for line in stage.api.log.read_text().splitlines() if " status=" in line]

    rows = {row.request_id: row for row in UsageEvent.objects.filter(org_id=stage.acme.org.pk)}
    assert len(rows) == count
    assert {row.outcome for row in rows.values()} == {"disconnected"}
    for received in read:
        request_id = received.split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
        billed = rows[request_id].output
        [line] = [line for line in lines if request_id in line]
        assert " status=499 " in line
        words = received.count(WORD)
        assert words <= billed < WORDS
        assert (billed - words) * FRAME_BYTES <= MOST_BUFFERED
    assert grown <= count * MOST_A_STREAM + 16 * 2**20
    assert (
        len([e for e in transcript(stage.upstream.url) if e["user"] == f"silent-{count}"]) == count
    )
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_caller_who_begins_to_read_late_gets_everything(stage: Stage) -> None:
    caller = call_without_reading(stage, "late")
    received = b""

    time.sleep(1)
    while not received.endswith(b"0\r\n\r\n"):
        data = caller.recv(16 * 1024)
        assert data
        received += data

    caller.close()
    assert received.count(WORD) == WORDS
    mine = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    row: UsageEvent = wait_for(mine.first)
    assert (row.outcome, row.output) == ("completed", WORDS)

"""Processes that die, stop, or compete: nothing is lost, nothing is charged twice."""

import threading
from contextlib import suppress

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import WORD, RawStream, chat_body, frames, post, wait_for
from tests.faults.conftest import Field

STREAMS = 20


def no_open_holds() -> bool:
    return not Hold.objects.filter(state="held").exists()


def test_kill_9_under_20_streams_charges_checkpoints_and_frees_every_hold_within_5_s(
    field: Field,
) -> None:
    doomed, survivor = field.start_api(), field.start_api()
    streams = [
        RawStream(
            doomed.port,
            field.acme.key_text,
            chat_body(stream=True, mock={"chunks": 2000, "delay_ms": 5}),
        )
        for _ in range(STREAMS)
    ]
    for stream in streams:
        stream.read_words(100)

    doomed.kill()
    wait_for(no_open_holds, seconds=5, what="the freeing of every hold")

    relayed = {}
    for stream in streams:
        stream.socket.settimeout(2)
        with suppress(OSError):
            stream.read_until(lambda _: False)
        head, _, body = stream.received.partition(b"\r\n\r\n")
        request_id = head.lower().split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
        relayed[request_id.replace("REQ", "req")] = body.count(WORD)
    rows = {row.request_id.lower(): row for row in UsageEvent.objects.all()}
    assert len(rows) == STREAMS
    for request_id, words in relayed.items():
        row = rows[request_id]
        assert (row.outcome, row.evidence) == ("interrupted", "counted")
        # a checkpoint comes every 250 ms, here some 50 words; the machine may be busy
        assert 0 < row.output <= words
        assert words - row.output <= 128
    assert post(survivor.url, field.acme.key_text, chat_body("hacxgpt")).status_code == 200
    assert_proven(field.stores.database_url, field.journals)


def test_sigterm_under_20_streams_lets_them_finish_and_settles_all(field: Field) -> None:
    api = field.start_api()
    streams = [
        RawStream(
            api.port,
            field.acme.key_text,
            chat_body(stream=True, mock={"chunks": 100, "delay_ms": 10}),
        )
        for _ in range(STREAMS)
    ]
    for stream in streams:
        stream.read_words(10)

    stopping = threading.Thread(target=api.stop)
    stopping.start()
    endings = [stream.read_until(lambda data: b"[DONE]" in data) for stream in streams]
    stopping.join()

    assert all(b"data: [DONE]" in ending for ending in endings)
    rows = UsageEvent.objects.all()
    assert [(row.outcome, row.output) for row in rows] == [("completed", 100)] * STREAMS
    assert no_open_holds()
    assert list(field.journals.glob("*.journal")) == []
    assert_proven(field.stores.database_url, field.journals)


def test_every_alias_works_under_daphne_too(field: Field) -> None:
    api = field.start_api(server="daphne")

    for path in ("/v1", "/api/v1", "/api"):
        answer = post(
            api.url,
            field.acme.key_text,
            chat_body("hacxgpt", stream=True),
            path=path + "/chat/completions",
            **{"Daphne-Root-Path": "/v1"},
        )
        assert frames(answer.text)[-1] == "[DONE]"
    wait_for(lambda: UsageEvent.objects.count() == 3)
    assert_proven(field.stores.database_url, field.journals)


def test_a_caller_who_leaves_daphne_stops_the_upstream_and_is_settled(field: Field) -> None:
    api = field.start_api(server="daphne")
    stream = RawStream(
        api.port, field.acme.key_text, chat_body(stream=True, mock={"chunks": 500, "delay_ms": 15})
    )
    stream.read_words(5)

    stream.leave()

    wait_for(no_open_holds, seconds=2)
    assert UsageEvent.objects.get().outcome == "disconnected"
    assert_proven(field.stores.database_url, field.journals)

"""Idempotency-Key: one upstream call, one charge, however often a request is sent."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key
from billing.expiry import purge_answers
from billing.models import Hold, IdempotentAnswer, UsageEvent
from kernel import clock
from tests.books import assert_proven
from tests.calls import RawStream, chat_body, post, transcript, wait_for
from tests.stage import Stage


def send(stage: Stage, name: str, body: Any, **options: str) -> requests.Response:
    return post(stage.api.url, stage.acme.key_text, body, **{"Idempotency-Key": name}, **options)


def rows(stage: Stage) -> int:
    return UsageEvent.objects.filter(org_id=stage.acme.org.pk).count()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["mock", "hacxgpt"])
def test_a_finished_answer_is_given_again_under_a_new_request_id_and_billed_once(
    stage: Stage,
    model: str,
    *,
    streamed: bool,
) -> None:
    body = chat_body(model, stream=streamed, mock={"chunks": 5})

    first = send(stage, "a", body)
    again = send(stage, "a", body, path="/api/chat/completions")

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    wait_for(lambda: rows(stage) == 1)
    assert_proven(stage.stores.database_url, stage.journals)


def test_of_many_at_once_one_runs_and_the_others_hear_that_it_does(stage: Stage) -> None:
    body = chat_body(max_tokens=4321, mock={"chunks": 10, "delay_ms": 100})

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: send(stage, "many", body), range(30)))

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(409)) == (1, 29)
    conflict = next(answer for answer in answers if answer.status_code == 409)
    assert conflict.json()["error"]["code"] == "idempotency_conflict"
    assert conflict.headers["retry-after"] == "1"
    assert len([e for e in transcript(stage.upstream.url) if e["max_tokens"] == 4321]) == 1
    wait_for(lambda: rows(stage) == 1)
    assert send(stage, "many", body).headers["idempotent-replayed"] == "true"


def test_another_body_under_the_same_key_is_422_while_running_and_afterwards(
    stage: Stage,
) -> None:
    slow = chat_body(mock={"chunks": 10, "delay_ms": 50})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(send, stage, "b", slow)
        wait_for(lambda: Hold.objects.filter(org_id=stage.acme.org.pk, state="held").exists())
        during = send(stage, "b", chat_body(mock={"chunks": 1}))
        assert running.result().status_code == 200
    afterwards = send(stage, "b", chat_body(mock={"chunks": 1}))

    for answer in (during, afterwards):
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "idempotency_key_reused"


def test_the_key_belongs_to_its_api_key(stage: Stage) -> None:
    other = mint_key(stage.acme.project, KeySpec(), actor="test").text
    body = chat_body("hacxgpt")

    send(stage, "c", body)
    theirs = post(stage.api.url, other, body, **{"Idempotency-Key": "c"})

    assert theirs.status_code == 200
    assert "idempotent-replayed" not in theirs.headers


def test_errors_are_not_stored(stage: Stage) -> None:
    broken = send(stage, "d", chat_body(mock={"status": 500}))
    body = chat_body(mock={"status": 500})
    wait_for(
        lambda: Hold.objects.filter(org_id=stage.acme.org.pk, state="released").exists(),
        what="the release",
    )
    again = send(stage, "d", body)

    assert (broken.status_code, again.status_code) == (502, 502)
    assert not IdempotentAnswer.objects.filter(org_id=stage.acme.org.pk).exists()


def test_after_a_caller_left_in_mid_stream_the_same_request_runs_anew(stage: Stage) -> None:
    body = chat_body(stream=True, mock={"chunks": 40, "delay_ms": 10})
    import json

    payload = json.dumps(body).encode()
    stream = RawStream(stage.api.port, stage.acme.key_text, body, headers={"idempotency-key": "e"})
    stream.read_words(5)
    stream.leave()
    wait_for(lambda: rows(stage) == 1)

    again = send(stage, "e", payload)

    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers
    assert again.text.endswith("data: [DONE]\n\n")
    wait_for(lambda: rows(stage) == 2)
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("name", ["x" * 256, "\xe9", ""])
def test_a_key_that_is_not_printable_or_too_long_is_400(stage: Stage, name: str) -> None:
    answer = send(stage, name, chat_body("hacxgpt"))

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "idempotency-key"


def test_the_stored_answer_is_sealed_and_forgotten_after_a_day(stage: Stage) -> None:
    from billing.database import connect_sync

    body = chat_body("mock", mock={"chunks": 3})
    send(stage, "f", body)
    kept = IdempotentAnswer.objects.filter(org_id=stage.acme.org.pk)
    assert b"word" not in bytes(kept.get().sealed)

    kept.update(created_at=clock.now() - timedelta(hours=23))
    assert send(stage, "f", body).headers["idempotent-replayed"] == "true"

    kept.update(created_at=clock.now() - timedelta(hours=24, seconds=1))
    with connect_sync(stage.stores.database_url, "test", statement_timeout_ms=5_000) as connection:
        assert purge_answers(connection) >= 1
    anew = send(stage, "f", body)

    assert anew.status_code == 200
    assert "idempotent-replayed" not in anew.headers

"""Redis and PostgreSQL die, freeze, come back empty: money is right, callers hear of it in time."""

import time
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection

from billing.models import Hold, UsageEvent
from tests.calls import RawStream, chat_body, post, wait_for
from tests.factories import make_tenant
from tests.faults.conftest import Siege


def settled(count: int) -> Callable[[], bool]:
    """Whether ``count`` calls are in the books; a database that is away answers no."""

    def check() -> bool:
        try:
            return UsageEvent.objects.count() == count
        except psycopg.Error:
            return False

    return check


LONG = pytest.mark.long


def test_with_redis_killed_calls_go_on_and_money_is_right(siege: Siege) -> None:
    assert siege.call() == 200

    siege.services.redis.kill()
    during = [siege.call() for _ in range(10)]
    siege.services.restart_redis()
    after = [siege.call() for _ in range(5)]

    assert during + after == [200] * 15
    wait_for(settled(16))
    siege.prove()


@LONG
def test_with_redis_frozen_for_a_minute_calls_go_on_and_money_is_right(siege: Siege) -> None:
    siege.services.redis.freeze()
    began = time.monotonic()
    waits_s = []
    while time.monotonic() - began < 60:
        asked = time.monotonic()
        assert siege.call() == 200
        waits_s.append(time.monotonic() - asked)
        time.sleep(0.2)
    siege.services.redis.thaw()
    thawed = [siege.call() for _ in range(5)]

    assert thawed == [200] * 5
    # the breaker lets one call at a time look whether Redis is back
    assert sorted(waits_s)[len(waits_s) // 2] < 0.5
    wait_for(settled(len(waits_s) + 5))
    siege.prove()


def test_with_redis_frozen_a_call_waits_no_longer_than_the_breaker_allows(siege: Siege) -> None:
    assert siege.call() == 200

    siege.services.redis.freeze()
    began = time.monotonic()
    statuses = [siege.call() for _ in range(10)]
    took_s = time.monotonic() - began
    siege.services.redis.thaw()

    assert statuses == [200] * 10
    # five waits of 50 ms until the breaker opens; the rest is the calls themselves
    assert took_s < 3
    wait_for(settled(11))
    siege.prove()


@pytest.mark.parametrize("away_s", [0, pytest.param(20, marks=LONG)])
def test_with_postgres_killed_new_calls_are_503_open_streams_finish_and_all_is_settled(
    siege: Siege, away_s: int
) -> None:
    streams = [
        RawStream(
            siege.api.port,
            siege.acme.key_text,
            chat_body("mock", stream=True, mock={"chunks": 60, "delay_ms": 25}),
        )
        for _ in range(5)
    ]
    for stream in streams:
        stream.read_words(3)

    siege.services.postgres.kill()
    connection.close()
    began = time.monotonic()
    answer = post(siege.api.url, siege.acme.key_text, chat_body("mock"))
    refused_after_s = time.monotonic() - began
    endings = [stream.read_until(lambda data: b"[DONE]" in data) for stream in streams]
    time.sleep(away_s)
    siege.services.restart_postgres()

    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert refused_after_s < 2
    assert all(b"data: [DONE]" in ending for ending in endings)
    wait_for(settled(5), seconds=10, what="the backlog's settlement")
    wait_for(lambda: siege.call() == 200, seconds=5)
    wait_for(lambda: not Hold.objects.filter(state="held").exists())
    siege.prove()


def test_with_postgres_frozen_calls_are_503_within_the_second_and_no_hold_is_left(
    siege: Siege,
) -> None:
    unknown = make_tenant("Other").key_text
    assert siege.call() == 200

    siege.services.postgres.freeze()
    ways = [
        (siege.acme.key_text, {}),
        (siege.acme.key_text, {"idempotency-key": "order-1"}),
        (unknown, {}),
    ]
    answers = [timed_post(siege, key, headers) for key, headers in ways]
    siege.services.postgres.thaw()

    assert [(status, retry_after) for status, retry_after, _ in answers] == [(503, "1")] * 3
    assert all(took_s < 1.5 for _, _, took_s in answers)
    wait_for(lambda: not Hold.objects.filter(state="held").exists(), seconds=5)
    wait_for(lambda: siege.call() == 200, seconds=5)
    siege.prove()


def test_with_postgres_frozen_a_stream_whose_answer_was_to_be_kept_ends_all_the_same(
    siege: Siege,
) -> None:
    stream = RawStream(
        siege.api.port,
        siege.acme.key_text,
        chat_body("mock", stream=True, mock={"chunks": 20, "delay_ms": 25}),
        {"idempotency-key": "order-1"},
    )
    stream.read_words(3)

    siege.services.postgres.freeze()
    began = time.monotonic()
    ending = stream.read_until(lambda data: b"[DONE]" in data)
    took_s = time.monotonic() - began
    siege.services.postgres.thaw()

    assert b"data: [DONE]" in ending
    # half a second of words, and the time in which the answer could not be kept
    assert took_s < 4
    wait_for(settled(1))
    siege.prove()


def timed_post(siege: Siege, key: str, headers: dict[str, str]) -> tuple[int, str, float]:
    """Return a call's status, ``retry-after``, and how many seconds it took."""
    began = time.monotonic()
    answer = post(siege.api.url, key, chat_body("mock"), **headers)
    return answer.status_code, answer.headers.get("retry-after", ""), time.monotonic() - began

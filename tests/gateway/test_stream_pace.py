"""How streams arrive, on a live path: word by word, past other calls, until the caller leaves."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
import requests

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import CHAT, RawStream, chat_body, post, wait_for
from tests.stage import Stage

STORY = [{"role": "user", "content": "Tell me a story"}]
SLOW = {"model": "hacxgpt-slow", "messages": STORY, "stream": True}
PIECE = b'"delta":{"content":"'


def arrivals(stage: Stage) -> list[float]:
    """Return when each piece of a slow answer's text came."""
    with requests.post(
        stage.api.url + CHAT,
        json=SLOW,
        headers={"authorization": f"Bearer {stage.acme.key_text}"},
        stream=True,
        timeout=30,
    ) as answer:
        return [monotonic() for line in answer.iter_lines(chunk_size=1) if PIECE in line]


def test_tokens_leave_as_they_are_made(stage: Stage) -> None:
    came = arrivals(stage)

    assert came[-1] - came[0] >= 1.5
    gaps = [later - earlier for earlier, later in pairwise(came)]
    assert sum(gap > 0.005 for gap in gaps) > 20


def test_slow_answers_keep_no_other_call_waiting(stage: Stage) -> None:
    def ask() -> float:
        answer = post(stage.api.url, stage.acme.key_text, {"model": "hacxgpt", "messages": STORY})
        assert answer.status_code == 200
        return monotonic()

    with ThreadPoolExecutor(20) as pool:
        streams = [pool.submit(arrivals, stage) for _ in range(16)]
        wait_for(lambda: Hold.objects.filter(org_id=stage.acme.org.pk).count() == 16)
        answered_at = [ask() for _ in range(5)]
        ends = [stream.result()[-1] for stream in streams]

    assert max(answered_at) < min(ends)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (SLOW, PIECE),
        (chat_body(stream=True, mock={"chunks": 500, "delay_ms": 15}), PIECE),
        (chat_body(stream=True, mock={"head_after_ms": 5_000}), b""),
        (chat_body(mock={"delay_ms": 50, "chunks": 100}), b""),
    ],
    ids=["built-in", "passed through", "before its first byte", "whole"],
)
def test_a_caller_who_leaves_is_logged_as_499(
    stage: Stage, body: dict[str, Any], seen: bytes
) -> None:
    stream = RawStream(stage.api.port, stage.acme.key_text, body)
    wait_for(holds(stage).exists, what="the hold")
    stream.read_until(lambda data: seen in data)
    stream.leave()

    wait_for(lambda: holds(stage).exclude(state="held").exists(), what="the hold's end")
    request_id = holds(stage).get().request_id
    (line,) = wait_for(lambda: lines_of(stage, request_id), what="a line of the log")
    assert " event=call_not_served " in line
    assert " status=499 " in line
    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists() is (seen != b"")
    assert_proven(stage.stores.database_url, stage.journals)


def holds(stage: Stage) -> Any:
    return Hold.objects.filter(org_id=stage.acme.org.pk)


def lines_of(stage: Stage, request_id: str) -> list[str]:
    return [line for line in stage.api.log.read_text().splitlines() if request_id in line]


def test_a_stream_that_is_read_to_its_end_is_in_no_line_of_the_log(stage: Stage) -> None:
    body = {"model": "hacxgpt", "messages": STORY, "stream": True}

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert answer.text.endswith("data: [DONE]\n\n")
    wait_for(lambda: holds(stage).filter(state="settled").exists())
    assert lines_of(stage, answer.headers["x-request-id"]) == []

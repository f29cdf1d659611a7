"""Calls that pass through to an OpenAI-compatible upstream: exact bytes, exact money."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import WORD, RawStream, chat_body, frames, post, text_of, transcript, wait_for
from tests.stage import Stage


def usage_of(stage: Stage) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


def exchanges(stage: Stage, mark: int) -> list[dict[str, Any]]:
    """Return what the upstream has seen of the calls marked by this ``max_tokens``."""
    return [e for e in transcript(stage.upstream.url) if e["max_tokens"] == mark]


def test_a_plain_call_is_answered_metered_and_charged_once(stage: Stage) -> None:
    answer = post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 5}))

    body = answer.json()
    assert (answer.status_code, body["model"]) == (200, "mock")
    assert body["choices"][0]["message"]["content"] == " word" * 5
    assert body["id"] == "chatcmpl-" + answer.headers["x-request-id"].removeprefix("req_")
    usage = usage_of(stage)
    assert (usage.input, usage.output, usage.evidence) == (9, 5, "provider")
    assert usage.amount_nanos == 9 * 1_000 + 5 * 2_000
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_stream_carries_our_id_and_model_and_no_usage_unless_it_was_asked_for(
    stage: Stage,
) -> None:
    answer = post(stage.api.url, stage.acme.key_text, chat_body(stream=True, mock={"chunks": 3}))

    chunks = frames(answer.text)
    assert chunks[-1] == "[DONE]"
    assert text_of(chunks) == " word" * 3
    assert {(chunk["id"], chunk["model"]) for chunk in chunks[:-1]} == {
        ("chatcmpl-" + answer.headers["x-request-id"].removeprefix("req_"), "mock")
    }
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks[:-1])
    assert usage_of(stage).output == 3


def test_a_stream_ends_with_the_usage_chunk_when_it_was_asked_for(stage: Stage) -> None:
    body = chat_body(stream=True, stream_options={"include_usage": True}, mock={"chunks": 3})

    chunks = frames(post(stage.api.url, stage.acme.key_text, body).text)

    assert [chunk["usage"] for chunk in chunks[:-2]] == [None] * 5
    assert (chunks[-2]["choices"], chunks[-2]["usage"]["completion_tokens"]) == ([], 3)


def test_the_upstream_gets_its_own_key_and_model_and_a_bound_on_its_output(stage: Stage) -> None:
    post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 1}))
    post(stage.api.url, stage.acme.key_text, chat_body(max_completion_tokens=77))

    bounded, asked = transcript(stage.upstream.url)[-2:]
    assert bounded["model"] == asked["model"] == "up-1"
    assert bounded["authorization"] == "Bearer sk-upstream-secret"
    assert (bounded["max_tokens"], asked["max_tokens"]) == (8192, 77)


def test_usage_the_upstream_does_not_report_is_counted_from_what_was_relayed(
    stage: Stage,
) -> None:
    post(
        stage.api.url,
        stage.acme.key_text,
        chat_body(stream=True, mock={"chunks": 7, "usage": False}),
    )

    usage = usage_of(stage)
    assert usage.evidence == "counted"
    assert usage.output == 7
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [
        (401, 502, "upstream_error"),
        (402, 502, "upstream_error"),
        (403, 502, "upstream_error"),
        (429, 503, "server_is_overloaded"),
        (500, 502, "upstream_error"),
        (302, 502, "upstream_error"),
    ],
)
def test_an_upstreams_refusal_is_ours_and_costs_nothing(
    stage: Stage, status: int, answered: int, code: str
) -> None:
    answer = post(stage.api.url, stage.acme.key_text, chat_body(mock={"status": status}))

    assert (answer.status_code, answer.json()["error"]["code"]) == (answered, code)
    assert "secret" not in answer.text
    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: mine.get().state == "released")
    assert stage.acme.account.held_nanos == 0
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()


def test_a_stream_that_breaks_ends_with_an_error_frame_and_is_charged_for_what_was_relayed(
    stage: Stage,
) -> None:
    answer = post(
        stage.api.url,
        stage.acme.key_text,
        chat_body(stream=True, mock={"chunks": 9, "fail_after": 4, "delay_ms": 1}),
    )

    chunks = frames(answer.text)
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["error"]["code"] == "upstream_error"
    assert text_of(chunks[:-2]) == " word" * 4
    usage = usage_of(stage)
    assert (usage.outcome, usage.output, usage.evidence) == ("truncated", 4, "counted")
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("index", range(8))
def test_a_caller_who_leaves_at_any_chunk_stops_the_upstream_and_pays_for_what_was_relayed(
    stage: Stage, index: int
) -> None:
    mark = 7000 + index
    stream = RawStream(
        stage.api.port,
        stage.acme.key_text,
        chat_body(stream=True, max_tokens=mark, mock={"chunks": 500, "delay_ms": 15}),
    )
    stream.read_until(lambda data: b'"role":"assistant"' in data)
    relayed = stream.read_words(index).count(WORD)
    left_at = monotonic()
    stream.leave()

    (exchange,) = wait_for(
        lambda: [e for e in exchanges(stage, mark) if e["left_at"]], what="the upstream's stop"
    )
    assert exchange["left_at"] - left_at <= 1  # both processes read the machine's one clock
    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: mine.get().state != "held", seconds=2)
    usage = UsageEvent.objects.filter(org_id=stage.acme.org.pk).first()
    charged = 0 if usage is None else usage.output
    assert relayed <= charged <= exchange["chunks_sent"]
    assert_proven(stage.stores.database_url, stage.journals)


def test_callers_who_leave_at_every_chunk_stop_their_upstreams_and_pay_for_what_was_relayed(
    stage: Stage,
) -> None:
    def leave_at(index: int) -> tuple[str, int, float]:
        script = {"chunks": 64, "delay_ms": 40}
        body = chat_body(stream=True, max_tokens=8000, user=f"leaver-{index}", mock=script)
        stream = RawStream(stage.api.port, stage.acme.key_text, body)
        stream.read_until(lambda data: b'"role":"assistant"' in data)
        relayed = stream.read_words(index).count(WORD)
        request_id = stream.received.split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
        stream.leave()
        return request_id, relayed, monotonic()

    with ThreadPoolExecutor(64) as pool:
        left = list(pool.map(leave_at, range(64)))

    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: mine.count() == 64 and not mine.filter(state="held").exists())
    seen = {exchange["user"]: exchange for exchange in exchanges(stage, 8000)}
    charged = dict(
        UsageEvent.objects.filter(org_id=stage.acme.org.pk).values_list("request_id", "output")
    )
    for index, (request_id, relayed, left_at) in enumerate(left):
        exchange = seen[f"leaver-{index}"]
        assert relayed <= charged.get(request_id, 0) <= exchange["chunks_sent"]
        assert exchange["left_at"] is not None
        assert exchange["left_at"] - left_at <= 1
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_thousand_calls_make_a_thousand_usage_rows(stage: Stage) -> None:
    def call(number: int) -> int:
        body = chat_body(stream=number % 2 == 0, mock={"chunks": 2})
        return post(stage.api.url, stage.acme.key_text, body).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(call, range(1000)))

    assert statuses == [200] * 1000
    mine = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: mine.count() == 1000, what="a row for each call")
    assert_proven(stage.stores.database_url, stage.journals)

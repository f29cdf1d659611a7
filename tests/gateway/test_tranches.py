"""Holds in tranches: little money is tied up, and a stream ends cleanly where no more is left."""

import pytest

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import RawStream, chat_body, frames, post, text_of, wait_for
from tests.factories import Tenant, make_tenant
from tests.stage import Stage

# "mock" costs 1,000 nanos a token read and 2,000 a token written; a word is one token


def usage_of(tenant: Tenant) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=tenant.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


def held_by(tenant: Tenant) -> int:
    return int(Hold.objects.get(org_id=tenant.org.pk).amount_nanos)


def test_a_stream_holds_one_tranche_and_a_whole_answer_all(stage: Stage) -> None:
    streamed, whole, several = make_tenant("A"), make_tenant("B"), make_tenant("C")

    post(stage.api.url, streamed.key_text, chat_body(stream=True, mock={"chunks": 1}))
    post(stage.api.url, whole.key_text, chat_body(mock={"chunks": 1}))
    post(stage.api.url, several.key_text, chat_body(stream=True, n=3, mock={"chunks": 1}))

    prompt = held_by(streamed) - 1024 * 2_000
    assert 0 < prompt < 50_000
    assert held_by(whole) == prompt + 8192 * 2_000
    assert held_by(several) == prompt + 3 * 8192 * 2_000


def test_a_long_stream_extends_its_hold_and_ends_whole(stage: Stage) -> None:
    body = chat_body(stream=True, mock={"chunks": 3_000, "delay_ms": 0.2})

    chunks = frames(post(stage.api.url, stage.acme.key_text, body).text)

    assert text_of(chunks) == " word" * 3_000
    usage = usage_of(stage.acme)
    assert (usage.outcome, usage.output) == ("completed", 3_000)
    assert held_by(stage.acme) > 3_000 * 2_000
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("delay_ms", [0, 0.3])
def test_a_stream_without_money_for_its_next_tranche_ends_cleanly_at_what_is_held(
    stage: Stage, delay_ms: float
) -> None:
    poor = make_tenant("Poor", credit_usd="0.003100")  # one tranche and a half
    body = chat_body(stream=True, mock={"chunks": 2_000, "delay_ms": delay_ms})

    answer = post(stage.api.url, poor.key_text, body)

    chunks = frames(answer.text)
    assert chunks[-1] == "[DONE]"
    last = chunks[-2]
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["x_tollgate"] == {"code": "budget_exhausted"}
    usage = usage_of(poor)
    assert usage.outcome == "budget_exhausted"
    assert text_of(chunks).count("word") == usage.output
    assert 1_000 <= usage.output <= 1_024
    assert usage.amount_nanos == usage.list_nanos <= held_by(poor)
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_stream_of_few_chunks_of_many_tokens_never_outruns_its_hold(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.003100")  # one tranche and a half
    script = {"chunks": 20, "delay_ms": 1, "word": "語" * 300}

    answer = post(stage.api.url, poor.key_text, chat_body(stream=True, mock=script))

    chunks = frames(answer.text)
    assert chunks[-2]["x_tollgate"] == {"code": "budget_exhausted"}
    usage = usage_of(poor)
    assert (usage.outcome, usage.output) == ("budget_exhausted", 900)
    assert text_of(chunks) == "語" * 900
    assert usage.amount_nanos == usage.list_nanos <= held_by(poor)
    assert_proven(stage.stores.database_url, stage.journals)


def test_the_upstream_of_a_stream_that_ran_out_of_money_is_stopped(stage: Stage) -> None:
    from tests.calls import transcript

    poor = make_tenant("Poor", credit_usd="0.003100")
    body = chat_body(stream=True, max_tokens=7777, mock={"chunks": 50_000, "delay_ms": 0.2})

    post(stage.api.url, poor.key_text, body)

    (exchange,) = wait_for(
        lambda: [
            e for e in transcript(stage.upstream.url) if e["max_tokens"] == 7777 and e["left_at"]
        ]
    )
    assert exchange["chunks_sent"] < 25_000


def test_the_built_in_model_ends_cleanly_too(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.000300")
    body = chat_body("hacxgpt", stream=True, max_tokens=100)
    body["messages"] = [{"role": "user", "content": "Tell me a story"}]

    answer = post(stage.api.url, poor.key_text, body)

    assert answer.status_code == 200
    assert frames(answer.text)[-2]["choices"][0]["finish_reason"] in {"length", "stop"}
    assert usage_of(poor).amount_nanos <= held_by(poor)


def test_no_sum_of_extensions_overspends_under_concurrency(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.020000")
    streams = [
        RawStream(
            stage.api.port,
            poor.key_text,
            chat_body(stream=True, mock={"chunks": 4_000, "delay_ms": 0.1}),
        )
        for _ in range(8)
    ]

    endings = [stream.read_until(lambda data: b"[DONE]" in data) for stream in streams]

    assert all(b"[DONE]" in ending for ending in endings)
    wait_for(lambda: not Hold.objects.filter(org_id=poor.org.pk, state="held").exists())
    rows = UsageEvent.objects.filter(org_id=poor.org.pk)
    spent = sum(row.amount_nanos for row in rows)
    assert all(row.amount_nanos == row.list_nanos for row in rows)
    assert poor.account.deferred_nanos == 20_000_000 - spent >= 0
    assert_proven(stage.stores.database_url, stage.journals)

"""Answers out of the cache: asked for, exact, sealed, of one key, and charged at their share."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from openai import OpenAI

from accounts.keys import KeySpec, mint_key
from billing.models import Hold, LedgerTransaction
from tests.books import assert_proven
from tests.calls import HELLO, chat_body, post
from tests.factories import ACTOR, make_tenant
from tests.gateway.cached import (
    CHAT,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    ask,
    asked_upstream,
    entries,
    ids,
    rows,
    said,
    usage_of,
    was,
)
from tests.stage import Stage

OF_EACH_DIALECT: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": HELLO}),
    (MESSAGES, {"messages": HELLO, "max_tokens": 200}),
    (RESPONSES, {"input": "Hello"}),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["mock", "hacxgpt"])
def test_the_second_answer_is_the_first_at_a_tenth_of_the_price(
    stage: Stage, model: str, *, streamed: bool
) -> None:
    extra = {"stream_options": {"include_usage": True}} if streamed else {}
    user = stage.acme.org.public_id
    body = chat_body(model, stream=streamed, mock={"chunks": 50}, user=user, **extra)

    first, again = ask(stage, body), ask(stage, body)

    assert (was(first), was(again)) == ("miss", "hit")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert said(again) == said(first)
    assert ids(again).isdisjoint(ids(first))
    assert asked_upstream(stage, user) == (1 if model == "mock" else 0)
    miss, hit = rows(stage.acme, 2)
    assert (hit.cache_percent, miss.cache_percent) == (10, None)
    assert (hit.provider, hit.upstream_nanos) == ("cache", 0)
    assert (hit.input, hit.output, hit.evidence) == (miss.input, miss.output, miss.evidence)
    assert hit.amount_nanos == hit.list_nanos
    assert hit.amount_nanos * 10 == miss.amount_nanos > 0
    costs = [usage_of(answer) for answer in (first, again)]
    assert costs[0]["cost"] == pytest.approx(miss.amount_nanos / 10**9, abs=1e-12)
    assert costs[1]["cost"] == pytest.approx(hit.amount_nanos / 10**9, abs=1e-12)
    assert costs[1]["x_tollgate"] == {"evidence": hit.evidence, "cache": "hit"}
    assert stage.acme.account.deferred_nanos == 100 * 10**9 - hit.amount_nanos - miss.amount_nanos
    assert LedgerTransaction.objects.filter(org_id=stage.acme.org.pk, kind="usage").exists()
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("path", "asked"), OF_EACH_DIALECT)
@pytest.mark.parametrize("model", ["mock", "hacxgpt"])
def test_every_dialect_is_answered_in_its_own_form(
    stage: Stage, model: str, path: str, asked: dict[str, Any], *, streamed: bool
) -> None:
    body = {"model": model, **asked, "stream": streamed}

    first, again = ask(stage, body, path=path), ask(stage, body, path=path)

    assert (was(first), was(again)) == ("miss", "hit")
    assert said(again) == said(first)
    assert ids(again).isdisjoint(ids(first))
    miss, hit = rows(stage.acme, 2)
    assert (hit.input, hit.output, hit.cache_percent) == (miss.input, miss.output, 10)
    assert_proven(stage.stores.database_url, stage.journals)


def test_embeddings_are_kept_too(stage: Stage) -> None:
    body = {"model": "text-embedding-3-small", "input": ["Hello", "Alice"]}

    first, again = (ask(stage, body, path=EMBEDDINGS) for _ in range(2))

    assert (was(first), was(again)) == ("miss", "hit")
    assert again.json()["data"] == first.json()["data"]
    miss, hit = rows(stage.acme, 2)
    assert (hit.embedding, hit.cache_percent) == (miss.embedding, 10)


def test_tool_calls_and_the_odds_of_tokens_come_back_as_they_were(stage: Stage) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    bodies = [
        chat_body("hacxgpt", tools=[tool], tool_choice="required"),
        chat_body("hacxgpt", logprobs=True, top_logprobs=2, max_tokens=5),
    ]

    for body in bodies:
        first, again = ask(stage, body), ask(stage, body)

        assert was(again) == "hit"
        assert again.json()["choices"] == first.json()["choices"]


def test_without_the_header_nothing_is_kept_or_given(stage: Stage) -> None:
    body = chat_body(user=stage.acme.org.public_id, mock={"chunks": 2})
    before = entries(stage)

    plain = post(stage.api.url, stage.acme.key_text, body)
    assert entries(stage) == before
    assert was(ask(stage, body)) == "miss"
    again = post(stage.api.url, stage.acme.key_text, body)

    assert (was(plain), was(again)) == (None, None)
    assert asked_upstream(stage, stage.acme.org.public_id) == 3
    assert [row.cache_percent for row in rows(stage.acme, 3)] == [None, None, None]


def test_a_hit_crosses_neither_keys_nor_organizations(stage: Stage) -> None:
    body = chat_body(user=stage.acme.org.public_id, mock={"chunks": 2})
    sibling = mint_key(stage.acme.project, KeySpec(), actor=ACTOR).text
    mallory = make_tenant("Mallory")

    first = ask(stage, body)
    others = [ask(stage, body, key=sibling), ask(stage, body, tenant=mallory)]

    assert [was(answer) for answer in (first, *others)] == ["miss", "miss", "miss"]
    assert asked_upstream(stage, stage.acme.org.public_id) == 3
    assert [row.cache_percent for row in rows(mallory, 1)] == [None]


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"messages": [{"role": "user", "content": "Hello!"}]},
        {"stream": True},
        {"of_tomorrow": 1},
        {"model": "hacxgpt"},
    ],
)
def test_a_changed_body_is_a_miss(stage: Stage, change: dict[str, Any]) -> None:
    body = chat_body(mock={"chunks": 2})

    ask(stage, body)

    assert was(ask(stage, {**body, **change})) == "miss"
    assert was(ask(stage, body)) == "hit"


def test_the_order_of_fields_and_blanks_change_nothing_and_an_alias_of_the_path_neither(
    stage: Stage,
) -> None:
    body = chat_body(mock={"chunks": 2})
    ask(stage, body)
    turned = json.dumps(dict(reversed(body.items())), indent=4).encode()

    other = post(
        stage.api.url,
        stage.acme.key_text,
        turned,
        path="/api/chat/completions",
        **{"x-tollgate-cache": "ttl=60"},
    )

    assert was(other) == "hit"


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("ttl", ["ttl=0", "ttl=86401", "60", "ttl=1.5", "ttl=-1", "on", "", "ttl="])
def test_a_bad_header_is_400_in_the_callers_dialect_and_nothing_moves(
    stage: Stage, path: str, ttl: str
) -> None:
    body = {"model": "mock", "messages": HELLO, "max_tokens": 5}

    answer = post(stage.api.url, stage.acme.key_text, body, path=path, **{"x-tollgate-cache": ttl})

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "x-tollgate-cache" in answer.json()["error"]["message"]
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


def test_an_idempotency_key_replays_a_hit_and_bills_it_once(stage: Stage) -> None:
    body = chat_body(mock={"chunks": 2})
    ask(stage, body)

    hit, again = (
        post(
            stage.api.url,
            stage.acme.key_text,
            body,
            **{"x-tollgate-cache": "ttl=60", "idempotency-key": "once"},
        )
        for _ in range(2)
    )

    assert (was(hit), was(again)) == ("hit", None)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == hit.content
    assert [row.cache_percent for row in rows(stage.acme, 2)] == [None, 10]


def test_a_hit_needs_room_for_its_share_alone_and_is_refused_without(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.0022")
    body = chat_body(max_tokens=1_000, mock={"chunks": 500})
    ask(stage, body, tenant=poor)  # 1,009,000 nanos; another one needs over 2,000,000
    rows(poor, 1)

    def call(**headers: str) -> requests.Response:
        return post(stage.api.url, poor.key_text, body, **headers)

    assert call().status_code == 402
    hit = call(**{"x-tollgate-cache": "ttl=60"})
    assert (hit.status_code, was(hit)) == (200, "hit")
    assert rows(poor, 2)[-1].amount_nanos == 100_900
    served = 2
    while (answer := call(**{"x-tollgate-cache": "ttl=60"})).status_code == 200:
        served += 1
        rows(poor, served)

    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "credit_balance_exhausted"
    assert poor.account.deferred_nanos == 2_200_000 - 1_009_000 - (served - 1) * 100_900
    assert 0 < poor.account.deferred_nanos < 250_000
    assert len(rows(poor, served)) == served
    assert_proven(stage.stores.database_url, stage.journals)


def test_the_same_question_at_once_may_go_upstream_more_than_once(stage: Stage) -> None:
    body = chat_body(user=stage.acme.org.public_id, mock={"chunks": 5, "delay_ms": 20})

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: ask(stage, body), range(5)))

    misses = sum(was(answer) == "miss" for answer in answers)
    assert 1 <= misses == asked_upstream(stage, stage.acme.org.public_id)
    assert len({json.dumps(said(answer)) for answer in answers}) == 1
    percents = [row.cache_percent for row in rows(stage.acme, 5)]
    assert percents.count(None) == misses
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_hit_counts_towards_rate_limits(stage: Stage) -> None:
    key = mint_key(stage.acme.project, KeySpec(rpm=2), actor=ACTOR).text
    body = chat_body(mock={"chunks": 2})
    answers = [ask(stage, body, key=key) for _ in range(2)]

    third = post(stage.api.url, key, body, **{"x-tollgate-cache": "ttl=60"})

    assert [was(answer) for answer in answers] == ["miss", "hit"]
    assert third.status_code == 429
    assert [row.cache_percent for row in rows(stage.acme, 2)] == [None, 10]


def test_the_official_client_reads_a_hit(stage: Stage) -> None:
    client = OpenAI(
        api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0, timeout=30
    )
    asked: Any = {
        "model": "mock",
        "messages": HELLO,
        "extra_headers": {"x-tollgate-cache": "ttl=60"},
    }

    texts = [
        "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        for stream in (client.chat.completions.create(**asked, stream=True) for _ in range(2))
    ]

    assert texts[0] == texts[1] == " word" * 64
    assert [row.cache_percent for row in rows(stage.acme, 2)] == [None, 10]

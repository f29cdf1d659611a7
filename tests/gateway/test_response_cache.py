"""Answers out of the cache: asked for, exact, sealed, of one key, and charged at their share."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import requests
from openai import OpenAI

from accounts.keys import KeySpec, mint_key
from billing.models import Hold, LedgerTransaction, UsageEvent
from billing.prices import publish_price, text_price
from gateway.news import announce_catalog_change
from kernel.money import parse_usd
from tests.books import assert_proven
from tests.calls import HELLO, RawStream, chat_body, post, transcript, wait_for
from tests.factories import ACTOR, Tenant, make_tenant
from tests.stage import Stage

MESSAGES = "/anthropic/v1/messages"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
CHAT = "/v1/chat/completions"
OF_EACH_DIALECT: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": HELLO}),
    (MESSAGES, {"messages": HELLO, "max_tokens": 200}),
    (RESPONSES, {"input": "Hello"}),
]
OF_ITS_OWN = {"usage", "id", "created", "created_at", "completed_at"}


def ask(
    stage: Stage,
    body: dict[str, Any],
    *,
    tenant: Tenant | None = None,
    key: str | None = None,
    path: str = CHAT,
    ttl: str = "ttl=60",
) -> requests.Response:
    text = key or (tenant or stage.acme).key_text
    answer = post(stage.api.url, text, body, path=path, **{"x-tollgate-cache": ttl})
    assert answer.status_code == 200, answer.text
    return answer


def was(answer: requests.Response) -> str | None:
    return answer.headers.get("x-tollgate-cache")


def rows(tenant: Tenant, count: int) -> list[UsageEvent]:
    """Return the tenant's usage rows, once there are so many and no hold is open."""
    found = UsageEvent.objects.filter(org_id=tenant.org.pk).order_by("occurred_at", "request_id")
    held = Hold.objects.filter(org_id=tenant.org.pk, state="held")
    wait_for(lambda: found.count() == count and not held.exists(), what=f"{count} usage rows")
    return list(found)


def asked_upstream(stage: Stage, user: str) -> int:
    return sum(each["user"] == user for each in transcript(stage.upstream.url))


def own_redis(stage: Stage) -> "redis.Redis":
    return redis.Redis.from_url(stage.stores.redis_url)


def entries(stage: Stage) -> set[bytes]:
    with own_redis(stage) as client:
        return set(client.scan_iter("tollgate:answer:*"))


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


def test_after_its_time_an_answer_is_gone(stage: Stage) -> None:
    body = chat_body(mock={"chunks": 2})
    before = entries(stage)

    first = ask(stage, body, ttl="ttl=1")
    wait_for(lambda: entries(stage) <= before, what="the end of the entry")

    assert (was(first), was(ask(stage, body, ttl="ttl=86400"))) == ("miss", "miss")
    [kept] = entries(stage) - before
    with own_redis(stage) as client:
        assert 86_000 < client.ttl(kept) <= 86_400


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


@pytest.mark.parametrize(
    ("script", "status"),
    [({"status": 500}, 502), ({"status": 400}, 400), ({"status": 429}, 503)],
)
def test_a_refused_call_leaves_nothing(stage: Stage, script: dict[str, Any], status: int) -> None:
    before = entries(stage)
    body = chat_body(mock=script)

    answers = [
        post(stage.api.url, stage.acme.key_text, body, **{"x-tollgate-cache": "ttl=60"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [status, status]
    assert entries(stage) == before


def test_a_broken_off_stream_leaves_nothing(stage: Stage) -> None:
    before = entries(stage)
    body = chat_body(stream=True, mock={"chunks": 20, "fail_after": 5})

    for _ in range(2):
        answer = ask(stage, body)
        assert '"error"' in answer.text

    assert entries(stage) == before
    outcomes = [(row.outcome, row.cache_percent) for row in rows(stage.acme, 2)]
    assert outcomes == [("truncated", None), ("truncated", None)]


def test_a_stream_that_its_caller_leaves_is_not_kept(stage: Stage) -> None:
    before = entries(stage)
    body = chat_body(stream=True, mock={"chunks": 60, "delay_ms": 20})
    stream = RawStream(
        stage.api.port, stage.acme.key_text, body, headers={"x-tollgate-cache": "ttl=60"}
    )
    stream.read_words(3)
    stream.leave()

    [row] = rows(stage.acme, 1)
    assert row.outcome == "disconnected"
    assert entries(stage) == before


def test_an_answer_that_money_ran_out_for_is_not_kept(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.003")
    before = entries(stage)
    body = chat_body(stream=True, max_tokens=4000, mock={"chunks": 2000, "delay_ms": 1})

    first = ask(stage, body, tenant=poor)

    assert "budget_exhausted" in first.text
    assert entries(stage) == before
    assert [row.outcome for row in rows(poor, 1)] == ["budget_exhausted"]
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_large_answer_is_given_and_not_kept(stage: Stage) -> None:
    before = entries(stage)
    body = chat_body(mock={"chunks": 60_000}, max_tokens=8_000)

    answers = [ask(stage, body) for _ in range(2)]

    assert [was(answer) for answer in answers] == ["miss", "miss"]
    assert entries(stage) == before


def test_a_flushed_redis_is_a_miss(stage: Stage) -> None:
    body = chat_body(mock={"chunks": 2})
    ask(stage, body)
    with own_redis(stage) as client:
        client.flushdb()

    assert was(ask(stage, body)) == "miss"
    assert was(ask(stage, body)) == "hit"


def test_an_entry_is_sealed_and_one_that_was_changed_or_moved_is_a_miss(stage: Stage) -> None:
    secret = f"secret of {stage.acme.org.public_id}"
    before = entries(stage)
    body = chat_body("hacxgpt", messages=[{"role": "user", "content": f"Say {secret}"}])
    answer = ask(stage, body)
    [mine] = entries(stage) - before
    other = chat_body("hacxgpt", messages=[{"role": "user", "content": "Hello, Bob"}])
    ask(stage, other)
    [theirs] = entries(stage) - before - {mine}
    with own_redis(stage) as client:
        kept = client.get(mine)
        assert isinstance(kept, bytes)
        assert secret.encode() not in kept
        assert answer.json()["choices"][0]["message"]["content"][:20].encode() not in kept

        for tampered in (kept[:-1] + bytes([kept[-1] ^ 1]), kept[:5], b"", client.get(theirs)):
            assert tampered is not None
            client.set(mine, tampered, ex=60)
            again = ask(stage, body)
            assert was(again) == "miss"
            assert said(again) == said(answer)
    assert was(ask(stage, body)) == "hit"


def test_a_new_price_is_a_miss(stage: Stage) -> None:
    body = chat_body(mock={"chunks": 2})
    ask(stage, body)
    own = publish_price(
        "mock", text_price(parse_usd("3.00"), parse_usd("4.00")), actor=ACTOR, org=stage.acme.org
    )
    announce_catalog_change()

    def row_at_the_new_price() -> UsageEvent | None:
        ask(stage, body)
        return UsageEvent.objects.filter(price_version_id=own.pk).order_by("occurred_at").first()

    assert wait_for(row_at_the_new_price, what="the price").cache_percent is None
    assert was(ask(stage, body)) == "hit"
    assert_proven(stage.stores.database_url, stage.journals)


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


def frames_of(answer: requests.Response) -> list[Any]:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return [answer.json()]
    return [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: {")
    ]


def said(answer: requests.Response) -> Any:
    """Return everything an answer says but who it is, when it was and what it cost."""
    return strip(frames_of(answer))


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: strip(each) for name, each in value.items() if not is_own(name)}
    return [strip(each) for each in value] if isinstance(value, list) else value


def is_own(name: str) -> bool:
    return name in OF_ITS_OWN or name.endswith("item_id")


def ids(answer: requests.Response) -> set[str]:
    """Return the ids of the answer itself."""
    found = set()
    for frame in frames_of(answer):
        for place in (frame, frame.get("message", {}), frame.get("response", {})):
            if isinstance(place, dict) and str(place.get("id")).startswith(
                ("chatcmpl-", "msg_", "resp_")
            ):
                found.add(place["id"])
    assert found
    return found


def usage_of(answer: requests.Response) -> Any:
    return frames_of(answer)[-1]["usage"]

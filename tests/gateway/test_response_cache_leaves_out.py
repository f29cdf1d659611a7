"""What the cache does not keep, and what it does not give."""

from typing import Any

import pytest

from billing.models import UsageEvent
from billing.prices import publish_price, text_price
from gateway.news import announce_catalog_change
from kernel.money import parse_usd
from tests.books import assert_proven
from tests.calls import RawStream, chat_body, post, wait_for
from tests.factories import ACTOR, make_tenant
from tests.gateway.cached import ask, entries, own_redis, rows, said, was
from tests.stage import Stage


def test_after_its_time_an_answer_is_gone(stage: Stage) -> None:
    body = chat_body(mock={"chunks": 2})
    before = entries(stage)

    first = ask(stage, body, ttl="ttl=1")
    wait_for(lambda: entries(stage) <= before, what="the end of the entry")

    assert (was(first), was(ask(stage, body, ttl="ttl=86400"))) == ("miss", "miss")
    [kept] = entries(stage) - before
    with own_redis(stage) as client:
        assert 86_000 < client.ttl(kept) <= 86_400


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

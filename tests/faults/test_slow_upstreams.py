"""Upstreams that are slow, stall, or never end: the caller hears of it, and pays for what came."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from time import monotonic
from typing import Any

import pytest
from openai import OpenAI

from billing.models import Hold, UsageEvent
from billing.prices import text_price
from gateway.models import Deployment, Provider, PublicModel
from gateway.offers import create_model, create_provider
from tests.books import assert_proven
from tests.calls import HELLO, chat_body, frames, post, text_of, transcript, wait_for
from tests.stage import House, Stage, open_house

HEAD_S = 2
FIRST_TOKEN_S = 4
STALL_S = 2
CALL_S = 6
TOTAL_S = 3
KEEP_ALIVE = ": keep-alive\n\n"


@pytest.fixture(scope="module")
def hole() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def void() -> Iterator[int]:
    """A port that lets nobody in: its queue is full, so no connection is ever completed."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, hole: str, void: int
) -> Iterator[House]:
    def prepare() -> None:
        Provider.objects.update(
            read_timeout_s=HEAD_S, first_token_timeout_s=FIRST_TOKEN_S, stall_timeout_s=STALL_S
        )
        create_provider(
            "hole", kind=Provider.Kind.OPENAI, base_url=hole, credential=None, actor="test"
        )
        Provider.objects.filter(name="hole").update(read_timeout_s=1, stall_timeout_s=1)
        price = text_price(1_000_000_000, 2_000_000_000)
        mock = Provider.objects.get(name="mock")
        for name, base_url, times in (
            ("void", f"http://127.0.0.1:{void}", {"connect_timeout_s": 1, "read_timeout_s": 30}),
            ("brief", mock.base_url, {"total_timeout_s": TOTAL_S}),
        ):
            create_provider(name, kind="openai", base_url=base_url, credential=None, actor="test")
            Provider.objects.filter(name=name).update(**times)
            create_model(name, provider=name, upstream_model="up-1", price=price, actor="test")
        create_model("hedged", provider="hole", upstream_model="x", price=price, actor="test")
        Deployment.objects.create(
            public_model=PublicModel.objects.get(name="hedged"),
            provider=Provider.objects.get(name="mock"),
            upstream_model="up-1",
            priority=1,
        )

    with open_house(
        django_db_blocker,
        tmp_path_factory.mktemp("house"),
        prepare=prepare,
        KEEP_ALIVE_S="1",
        MAX_CALL_S=str(CALL_S),
        SIMULATOR_FIRST_TOKEN_MS="2500",
    ) as opened:
        yield opened


def usage_of(stage: Stage) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


def assert_nothing_charged(stage: Stage) -> None:
    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: mine.get().state == "released")
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0
    assert_proven(stage.stores.database_url, stage.journals)


def test_while_the_first_token_is_awaited_a_stream_shows_signs_of_life(stage: Stage) -> None:
    body = chat_body(stream=True, mock={"chunks": 3, "first_after_ms": 2500})

    answer = post(stage.api.url, stage.acme.key_text, body)

    before, _, after = answer.text.partition('{"content":" word"}')
    assert before.count(KEEP_ALIVE) == 2
    assert KEEP_ALIVE not in after
    assert text_of(frames(answer.text)) == " word" * 3
    assert (usage_of(stage).outcome, usage_of(stage).output) == ("completed", 3)


def test_the_official_client_reads_past_signs_of_life(stage: Stage) -> None:
    client = OpenAI(api_key=stage.acme.key_text, base_url=stage.api.url + "/v1", max_retries=0)
    question: Any = HELLO

    with client.chat.completions.stream(
        model="mock",
        messages=question,
        stream_options={"include_usage": True},
        extra_body={"mock": {"chunks": 3, "first_after_ms": 2500}},
    ) as stream:
        completion = stream.get_final_completion()

    assert completion.choices[0].message.content == " word" * 3
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 3


def test_a_messages_caller_gets_pings_of_its_own_dialect(stage: Stage) -> None:
    body = {
        "model": "hacxgpt",
        "max_tokens": 20,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
    }

    answer = post(stage.api.url, stage.acme.key_text, body, path="/anthropic/v1/messages")

    before, found, _ = answer.text.partition("event: message_start")
    assert found
    assert before == 'event: ping\ndata: {"type":"ping"}\n\n' * 2
    assert "event: message_stop" in answer.text


@pytest.mark.parametrize("streamed", [True, False])
def test_without_a_connection_in_time_the_answer_is_504_and_costs_nothing(
    stage: Stage, *, streamed: bool
) -> None:
    began_at = monotonic()

    answer = post(stage.api.url, stage.acme.key_text, chat_body("void", stream=streamed))

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert 1 <= monotonic() - began_at < CALL_S, "not the time for the head, nor for the call"
    assert_nothing_charged(stage)


@pytest.mark.parametrize("streamed", [True, False])
def test_without_a_status_in_time_the_answer_is_504_and_costs_nothing(
    stage: Stage, *, streamed: bool
) -> None:
    body = chat_body(stream=streamed, mock={"chunks": 3, "head_after_ms": 20_000})
    began_at = monotonic()

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert monotonic() - began_at >= HEAD_S
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert_nothing_charged(stage)


def test_without_a_first_token_in_time_the_begun_stream_ends_with_an_error_and_costs_nothing(
    stage: Stage,
) -> None:
    began_at = monotonic()
    body = chat_body(stream=True, mock={"chunks": 3, "first_after_ms": 20_000})

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert monotonic() - began_at >= FIRST_TOKEN_S
    ending = frames(answer.text)[-2:]
    assert (ending[0]["error"]["code"], ending[1]) == ("upstream_error", "[DONE]")
    assert answer.text.count(KEEP_ALIVE) >= 2
    assert_nothing_charged(stage)


@pytest.mark.parametrize("comments", [False, True])
def test_a_stall_in_mid_stream_ends_it_and_what_was_relayed_is_charged(
    stage: Stage, *, comments: bool
) -> None:
    mark = 7700 + comments
    script = {"chunks": 50, "stall_after": 5, "delay_ms": 5, "comments": comments}

    answer = post(
        stage.api.url, stage.acme.key_text, chat_body(stream=True, max_tokens=mark, mock=script)
    )

    chunks = frames(answer.text)
    assert text_of(chunks[:-2]) == " word" * 5
    assert (chunks[-2]["error"]["code"], chunks[-1]) == ("upstream_error", "[DONE]")
    assert comments or KEEP_ALIVE in answer.text
    usage = usage_of(stage)
    assert (usage.outcome, usage.output, usage.evidence) == ("truncated", 5, "counted")
    (exchange,) = wait_for(
        lambda: [
            e
            for e in transcript(stage.upstream.url)
            if e["max_tokens"] == mark and e["left_at"] is not None
        ],
        what="the upstream's stop",
    )
    # the last word is known to the watch within the 250 ms of a checkpoint
    assert exchange["left_at"] - exchange["last_sent_at"] >= STALL_S - 0.3
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_call_that_takes_too_long_ends_with_an_error_and_is_charged_for_what_was_relayed(
    stage: Stage,
) -> None:
    began_at = monotonic()
    body = chat_body(stream=True, mock={"chunks": 900, "delay_ms": 50})

    answer = post(stage.api.url, stage.acme.key_text, body)

    took_s = monotonic() - began_at
    chunks = frames(answer.text)
    assert CALL_S - 0.1 <= took_s < 30
    assert chunks[-2]["error"]["code"] == "upstream_error"
    assert f"longer than {CALL_S} s" in chunks[-2]["error"]["message"]
    usage = usage_of(stage)
    assert usage.outcome == "truncated"
    assert text_of(chunks[:-2]) == " word" * usage.output
    assert usage.output > 10
    assert_proven(stage.stores.database_url, stage.journals)


def test_an_answer_that_takes_its_provider_too_long_in_all_ends_though_it_never_stalls(
    stage: Stage,
) -> None:
    began_at = monotonic()
    body = chat_body("brief", stream=True, mock={"chunks": 900, "delay_ms": 50})

    answer = post(stage.api.url, stage.acme.key_text, body)

    chunks = frames(answer.text)
    assert monotonic() - began_at >= TOTAL_S - 0.1
    error = chunks[-2]["error"]
    assert (error["code"], chunks[-1]) == ("upstream_error", "[DONE]")
    assert error["message"] == f"The model's provider took longer than {TOTAL_S} s."
    usage = usage_of(stage)
    assert (usage.outcome, text_of(chunks[:-2])) == ("truncated", " word" * usage.output)
    assert_proven(stage.stores.database_url, stage.journals)


def test_until_a_status_has_come_nothing_is_sent_so_the_next_provider_can_still_serve(
    stage: Stage,
) -> None:
    body = chat_body("hedged", stream=True, mock={"chunks": 4})

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert answer.status_code == 200
    assert text_of(frames(answer.text)) == " word" * 4
    assert (usage_of(stage).provider, usage_of(stage).output) == ("mock", 4)

"""An Anthropic upstream: what it is sent, what of its figures is believed, how its streams end."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import requests

from billing.models import Hold, UsageEvent
from gateway.deployments import change_provider
from tests.books import assert_proven
from tests.calls import HELLO, chat_body, post, transcript, wait_for
from tests.claude import running_claude
from tests.factories import ACTOR, Tenant, make_tenant
from tests.servers import Server
from tests.stage import House, Stage
from tests.stage import own_house as house

__all__ = ["house"]

MESSAGES = "/anthropic/v1/messages"
WORD = b'"text": " word"'
BODY: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 8000,
    "messages": [{"role": "user", "content": "Hello"}],
}


@pytest.fixture(scope="module")
def claude(house: House) -> Iterator[Server]:
    with running_claude(house) as server:
        yield server


def ask(house: House, tenant: Tenant, **fields: Any) -> requests.Response:
    return post(house.api.url, tenant.key_text, {**BODY, **fields}, path=MESSAGES)


def usage_of(tenant: Tenant) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=tenant.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


@pytest.mark.parametrize("streamed", [False, True])
def test_the_callers_body_goes_on_with_the_providers_model_and_key(
    stage: Stage, claude: Server, *, streamed: bool
) -> None:
    fields = {"stream": streamed, "top_k": 3, "of_tomorrow": {"x": [1]}}

    answer = ask(stage, stage.acme, **fields)

    exchange = transcript(claude.url)[-1]
    assert exchange["body"] == {
        "model": "up-1",
        "max_tokens": 8000,
        "messages": [{"role": "user", "content": "Hello"}],
        **fields,
    }
    assert (exchange["key"], exchange["version"]) == ("sk-ant-secret", "2023-06-01")
    assert '"claude"' in answer.text
    assert "up-1" not in answer.text
    assert "msg_upstream" not in answer.text
    usage = usage_of(stage.acme)
    assert (usage.input, usage.output, usage.evidence) == (9, 4, "provider")
    assert_proven(stage.stores.database_url, stage.journals)


DRAWN = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}


@pytest.mark.parametrize(
    ("path", "sent"),
    [(MESSAGES, DRAWN), ("/v1/chat/completions", {"temperature": 0.5, "top_k": 5})],
)
def test_what_a_later_version_refuses_is_not_said_under_it(
    stage: Stage, claude: Server, path: str, sent: dict[str, Any]
) -> None:
    body = {"model": "claude", "max_tokens": 80, "messages": HELLO, **DRAWN}

    def asked_in(version: str) -> dict[str, Any] | None:
        answer = post(stage.api.url, stage.acme.key_text, body, path=path)
        assert answer.status_code == 200
        exchange = transcript(claude.url)[-1]
        return exchange["body"] if exchange["version"] == version else None

    for version, told in (("2026-10-21", {}), ("2023-06-01", sent)):
        change_provider("claude", {"anthropic_version": version}, actor=ACTOR)
        asked = wait_for(partial(asked_in, version), what=f"a call in {version}")

        assert {name: asked[name] for name in DRAWN if name in asked} == told


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21", "2099-01-01"])
@pytest.mark.parametrize("streamed", [False, True])
def test_how_tokens_are_drawn_goes_on_whatever_version_the_caller_names(
    stage: Stage, claude: Server, version: str | None, *, streamed: bool
) -> None:
    drawn = {"temperature": 0.25, "top_p": 0.75, "top_k": 7}
    body = {**BODY, **drawn, "stream": streamed}
    headers = {} if version is None else {"anthropic-version": version}

    answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES, **headers)

    assert answer.status_code == 200
    exchange = transcript(claude.url)[-1]
    assert {name: exchange["body"].get(name) for name in drawn} == drawn


@pytest.mark.parametrize("streamed", [False, True])
def test_turns_go_on_as_they_are_thinking_and_the_beginning_of_an_answer_included(
    stage: Stage, claude: Server, *, streamed: bool
) -> None:
    messages = [
        {"role": "user", "content": "Hello"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "signed"},
                {"type": "redacted_thinking", "data": "sealed"},
                {"type": "text", "text": "Hello!"},
            ],
        },
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "It is"},
    ]

    answer = ask(stage, stage.acme, messages=messages, stream=streamed)

    assert answer.status_code == 200
    assert transcript(claude.url)[-1]["body"]["messages"] == messages


@pytest.mark.parametrize(
    ("reason", "sequence"),
    [
        ("end_turn", None),
        ("max_tokens", None),
        ("stop_sequence", "END"),
        ("tool_use", None),
        ("refusal", None),
        ("pause_turn", None),
        ("model_context_window_exceeded", None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_why_an_answer_ended_is_said_in_its_providers_word(
    stage: Stage, claude: Server, reason: str, sequence: str | None, *, streamed: bool
) -> None:
    script = {"stop_reason": reason, "stop_sequence": sequence}

    answer = ask(stage, stage.acme, stream=streamed, mock=script)

    said: dict[str, Any]
    if streamed:
        *_, closing, _stop = [frame for frame in answer.text.split("\n\n") if frame]
        said = json.loads(closing.partition("data: ")[2])["delta"]
    else:
        said = answer.json()
    assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)
    assert usage_of(stage.acme).outcome == "completed"


@pytest.mark.parametrize("streamed", [False, True])
def test_cached_written_and_thinking_tokens_are_counted_in_one_bucket_each(
    stage: Stage, claude: Server, *, streamed: bool
) -> None:
    reported = {
        "input_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 15},
    }

    ask(stage, stage.acme, stream=streamed, mock={"usage": reported})

    usage = usage_of(stage.acme)
    assert (usage.input, usage.cached_input, usage.cache_write) == (5, 3, 2)
    assert (usage.output, usage.reasoning) == (5, 15)


@pytest.mark.parametrize(
    "reported",
    [False, {"input_tokens": -5, "output_tokens": 1}, {"input_tokens": 9, "output_tokens": 10**9}],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_figures_that_cannot_be_true_are_not_believed_and_ours_count(
    stage: Stage, claude: Server, reported: Any, *, streamed: bool
) -> None:
    answer = ask(stage, stage.acme, stream=streamed, mock={"chunks": 7, "usage": reported})

    assert answer.status_code == 200
    usage = usage_of(stage.acme)
    assert (usage.evidence, usage.input, usage.output) == ("counted", 3 + 4 + 1, 7)
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("api_error", "api_error"),
        ("overloaded_error", "overloaded_error"),
        ("rate_limit_error", "overloaded_error"),
        ("timeout_error", "api_error"),
        ("authentication_error", "api_error"),
    ],
)
def test_a_stream_that_breaks_is_charged_for_what_was_sent(
    stage: Stage, claude: Server, theirs: str, ours: str
) -> None:
    script = {"chunks": 50, "fail_after": 30, "error": {"type": theirs}}

    answer = ask(stage, stage.acme, stream=True, mock=script)

    assert answer.content.count(WORD) == 30
    assert "secret" not in answer.text
    last = json.loads(answer.text.rstrip().rpartition("data: ")[2])
    assert (last["type"], last["error"]["type"]) == ("error", ours)
    assert last["request_id"] == answer.headers["request-id"]
    usage = usage_of(stage.acme)
    assert (usage.outcome, usage.evidence, usage.output) == ("truncated", "counted", 30)
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_provider_that_says_a_fault_is_not_waited_for(stage: Stage, claude: Server) -> None:
    script = {"chunks": 9, "fail_after": 5, "stays_s": 25}

    answer = ask(stage, stage.acme, stream=True, mock=script)

    assert answer.content.count(WORD) == 5
    wait_for(lambda: transcript(claude.url)[-1]["left"], what="our leaving")


def test_a_caller_who_leaves_stops_the_upstream_and_pays_for_what_came(
    stage: Stage, claude: Server
) -> None:
    body = {
        "model": "claude",
        "max_tokens": 4321,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
        "mock": {"chunks": 5000, "delay_ms": 5},
    }
    url, key = stage.api.url + MESSAGES, stage.acme.key_text
    with requests.post(
        url, json=body, headers={"x-api-key": key}, stream=True, timeout=20
    ) as answer:
        received = b""
        for piece in answer.iter_content(None):
            received += piece
            if received.count(WORD) >= 10:
                break

    usage = usage_of(stage.acme)
    assert usage.outcome == "disconnected"
    assert 10 <= usage.output < 5000
    exchange = wait_for(
        lambda: next(e for e in transcript(claude.url) if e["body"]["max_tokens"] == 4321)["left"],
        what="the upstream's caller to leave",
    )
    assert exchange
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_stream_without_money_for_its_next_tranche_ends_cleanly(
    stage: Stage, claude: Server
) -> None:
    poor = make_tenant("Poor", credit_usd="0.003100")  # one tranche and a half

    answer = ask(stage, poor, stream=True, mock={"chunks": 2_000})

    events = [
        json.loads(frame.partition("data: ")[2]) for frame in answer.text.split("\n\n") if frame
    ]
    assert [event["type"] for event in events[-3:]] == [
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert events[-2]["x_tollgate"] == {"code": "budget_exhausted"}
    usage = usage_of(poor)
    assert usage.outcome == "budget_exhausted"
    assert answer.content.count(WORD) == usage.output
    assert 1_000 <= usage.output <= 1_024
    held = Hold.objects.get(org_id=poor.org.pk).amount_nanos
    assert usage.amount_nanos == usage.list_nanos <= held
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_openai_caller_is_answered_from_it(
    stage: Stage, claude: Server, *, streamed: bool
) -> None:
    answer = post(stage.api.url, stage.acme.key_text, chat_body("claude", stream=streamed))

    assert answer.status_code == 200
    exchange = transcript(claude.url)[-1]
    assert exchange["body"] == {
        "model": "up-1",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "stream": True,
    }
    usage = usage_of(stage.acme)
    assert (usage.input, usage.output, usage.evidence) == (9, 4, "provider")
    if not streamed:
        assert answer.json()["choices"][0]["message"]["content"] == " word" * 4

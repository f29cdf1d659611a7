"""LiteLLM's proxy as an upstream of either dialect: answered, metered, settled on both legs."""

import json
from typing import Any

import pytest
import requests
from anthropic import Anthropic
from openai import OpenAI

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import frames, post, wait_for
from tests.compat.clients.play import needs_clients
from tests.gateway.dialects import asking as openai
from tests.gateway.dialects.anthropic_asking import WEATHER
from tests.gateway.translation.chain import PATHS
from tests.gateway.translation.pairs import BOTH_WAYS, PAIRS
from tests.gateway.translation.reading import body_of, read
from tests.peers.litellm_proxy import MOCKED, Peer
from tests.stage import Stage

pytestmark = needs_clients


def ask(stage: Stage, dialect: str, body: Any) -> requests.Response:
    return post(stage.api.url, stage.acme.key_text, body, path=PATHS[dialect])


def usage_of(stage: Stage) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


def billed_behind(peer: Peer) -> list[tuple[int, int]]:
    """Return what the house billed the proxy, call by call."""
    rows = UsageEvent.objects.filter(org_id=peer.reseller.org.pk).order_by("occurred_at")
    return list(rows.values_list("input", "output"))


def say(
    stage: Stage, dialect: str, model: str, question: str, *, streamed: bool, tool: bool = False
) -> dict[str, Any]:
    """Ask through the official client of a dialect; return the text, the tools' inputs, the end."""
    ask: Any = {
        "model": model,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": question}],
    }
    return (_say_openai if dialect == "openai" else _say_anthropic)(
        stage, ask, streamed=streamed, tool=tool
    )


def _say_openai(stage: Stage, ask: Any, *, streamed: bool, tool: bool) -> dict[str, Any]:
    url, key = f"{stage.api.url}/v1", stage.acme.key_text
    completions = OpenAI(api_key=key, base_url=url, max_retries=0).chat.completions
    ask |= {"tools": [openai.WEATHER]} if tool else {}
    completion: Any
    if streamed:
        with completions.stream(**ask) as stream:
            completion = stream.get_final_completion()
    else:
        completion = completions.create(**ask)
    choice = completion.choices[0]
    calls = choice.message.tool_calls or []
    return {
        "text": choice.message.content or "",
        "inputs": [json.loads(call.function.arguments) for call in calls],
        "end": choice.finish_reason,
    }


def _say_anthropic(stage: Stage, ask: Any, *, streamed: bool, tool: bool) -> dict[str, Any]:
    url, key = f"{stage.api.url}/anthropic", stage.acme.key_text
    messages = Anthropic(api_key=key, base_url=url, max_retries=0).messages
    ask |= {"tools": [WEATHER]} if tool else {}
    message: Any
    if streamed:
        with messages.stream(**ask) as stream:
            message = stream.get_final_message()
    else:
        message = messages.create(**ask)
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "inputs": [block.input for block in message.content if block.type == "tool_use"],
        "end": message.stop_reason,
    }


@PAIRS
@BOTH_WAYS
def test_an_answer_comes_through_and_both_legs_are_billed_alike(
    stage: Stage, peer: Peer, dialect: str, upstream: str, *, streamed: bool
) -> None:
    before = billed_behind(peer)
    question = "What is the capital of France?"

    said = say(stage, dialect, f"{upstream}/hacxgpt", question, streamed=streamed)

    assert said == {
        "text": "The capital of France is Paris.",
        "inputs": [],
        "end": "stop" if dialect == "openai" else "end_turn",
    }
    usage = usage_of(stage)
    assert (usage.input, usage.output, usage.amount_nanos) == (14, 7, 28_000)
    assert (usage.provider, usage.evidence, usage.outcome) == (upstream, "provider", "completed")
    wait_for(lambda: billed_behind(peer) == [*before, (14, 7)], what="the bill behind the proxy")
    assert_proven(stage.stores.database_url, stage.journals)


@PAIRS
@BOTH_WAYS
def test_a_tool_is_called_through_it(
    stage: Stage, peer: Peer, dialect: str, upstream: str, *, streamed: bool
) -> None:
    question = "What is the weather in Oslo?"

    said = say(stage, dialect, f"{upstream}/hacxgpt", question, streamed=streamed, tool=True)

    assert said == {
        "text": "",
        "inputs": [{"location": "Oslo"}],
        "end": "tool_calls" if dialect == "openai" else "tool_use",
    }
    assert usage_of(stage).evidence == "provider"
    assert_proven(stage.stores.database_url, stage.journals)


@BOTH_WAYS
def test_a_mocked_answer_is_charged_by_the_figures_that_come_with_it(
    stage: Stage, peer: Peer, *, streamed: bool
) -> None:
    body = body_of("openai", "openai/mocked", "Hello", streamed=streamed)
    if streamed:
        body["stream_options"] = {"include_usage": True}

    answer = ask(stage, "openai", body)

    said = read("openai", answer, streamed=streamed)
    assert (said["text"], said["end"]) == (MOCKED, "stop")
    usage = usage_of(stage)
    reported = frames(answer.text)[-2]["usage"] if streamed else answer.json()["usage"]
    assert usage.evidence == "provider"
    assert (usage.input, usage.output) == (
        reported["prompt_tokens"],
        reported["completion_tokens"],
    )
    assert_proven(stage.stores.database_url, stage.journals)


def test_figures_of_a_mocked_message_that_cannot_be_true_are_not_believed(
    stage: Stage, peer: Peer
) -> None:
    body = body_of("anthropic", "anthropic/mocked", "Hello", streamed=False)

    said = read("anthropic", ask(stage, "anthropic", body), streamed=False)

    assert (said["text"], said["end"]) == (MOCKED, "end_turn")
    usage = usage_of(stage)
    assert usage.evidence == "counted"  # the mock says 2,095 and 503 tokens
    assert (usage.input, usage.output) == (3 + 4 + 7 + 4 + 1, 5)
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_whole_message_where_a_stream_was_asked_for_is_the_providers_fault_and_costs_nothing(
    stage: Stage, peer: Peer
) -> None:
    body = body_of("anthropic", "anthropic/mocked", "Hello", streamed=True)

    answer = ask(stage, "anthropic", body)

    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    wait_for(lambda: stage.acme.account.held_nanos == 0)
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
def test_a_refusal_behind_it_is_never_the_callers_fault(
    stage: Stage, peer: Peer, upstream: str
) -> None:
    body = body_of("openai", f"{upstream}/unknown", "Hello", streamed=True)

    answer = ask(stage, "openai", body)

    assert answer.status_code == 502
    for secret in ("litellm", "127.0.0.1", "no-such"):
        assert secret not in answer.text.lower()
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    wait_for(lambda: stage.acme.account.held_nanos == 0)


@PAIRS
def test_a_caller_who_leaves_is_settled_for_what_was_sent(
    stage: Stage, peer: Peer, dialect: str, upstream: str
) -> None:
    hello = {"role": "user", "content": "Hello"}
    body = {"model": f"{upstream}/slow", "max_tokens": 4096, "messages": [hello], "stream": True}
    url, key = stage.api.url + PATHS[dialect], stage.acme.key_text
    with requests.post(url, json=body, headers={"x-api-key": key}, stream=True, timeout=60) as sent:
        received = b""
        for piece in sent.iter_content(None):
            received += piece
            if received.count(b" word") >= 4:
                break

    usage = usage_of(stage)
    assert usage.outcome == "disconnected"
    assert 4 <= usage.output < 4_000
    wait_for(lambda: stage.acme.account.held_nanos == 0)
    assert_proven(stage.stores.database_url, stage.journals)

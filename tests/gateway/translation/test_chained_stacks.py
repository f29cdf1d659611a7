"""Tollgate as its own upstream, in all four pairs of dialects: what goes across, and its bill."""

import json
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import wait_for
from tests.gateway.dialects import asking as openai
from tests.gateway.dialects.anthropic_asking import WEATHER
from tests.gateway.translation.chain import Chain
from tests.gateway.translation.pairs import ACROSS, BOTH_WAYS, PAIRS
from tests.gateway.translation.reading import body_of, read

WEATHER_TOOL: Any = WEATHER
OPENAI_TOOL: Any = openai.WEATHER


@PAIRS
@BOTH_WAYS
def test_a_question_is_answered_and_metered_alike(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme = chain.tenant()
    body = body_of(
        dialect, f"{upstream}/hacxgpt", "What is the capital of France?", streamed=streamed
    )

    said = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)

    assert said["text"] == "The capital of France is Paris."
    assert said["end"] == ("stop" if dialect == "openai" else "end_turn")
    usage = chain.usage_of(acme)
    assert (usage.input, usage.output, usage.reasoning) == (25, 7, 0)
    assert (usage.evidence, usage.outcome) == ("provider", "completed")
    assert_proven(chain.second.stores.database_url, chain.second.journals)


@PAIRS
@BOTH_WAYS
def test_a_limit_cuts_and_the_reason_is_translated(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    body = body_of(
        dialect, f"{upstream}/hacxgpt", "Tell me a story", streamed=streamed, max_tokens=5
    )

    said = read(dialect, chain.ask(chain.tenant(), dialect, body), streamed=streamed)

    assert said["end"] == ("length" if dialect == "openai" else "max_tokens")
    assert len(said["text"]) > 5


@PAIRS
@BOTH_WAYS
def test_tools_are_called_and_their_results_read(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme, model = chain.tenant(), f"{upstream}/hacxgpt"
    tools = [openai.WEATHER] if dialect == "openai" else [WEATHER]
    question = "What is the weather in Paris and London?"
    body = body_of(dialect, model, question, streamed=streamed, tools=tools)

    said = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)

    assert said["calls"] == [
        ("get_weather", {"location": "Paris"}),
        ("get_weather", {"location": "London"}),
    ]
    assert said["end"] == ("tool_calls" if dialect == "openai" else "tool_use")
    assert said["text"] == ""
    body["messages"] += _results(dialect)
    answered = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)
    assert answered["text"] == "Here is what I found: 12 degrees"


def _results(dialect: str) -> list[Any]:
    if dialect == "openai":
        return [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [openai.CALL, {**openai.CALL, "id": "call_2"}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "15 degrees"},
            {"role": "tool", "tool_call_id": "call_2", "content": "12 degrees"},
        ]
    call = {"type": "tool_use", "name": "get_weather", "input": {"location": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "15 degrees"}
    return [
        {"role": "assistant", "content": [{**call, "id": "toolu_1"}, {**call, "id": "toolu_2"}]},
        {
            "role": "user",
            "content": [result, {**result, "tool_use_id": "toolu_2", "content": "12 degrees"}],
        },
    ]


@PAIRS
@BOTH_WAYS
def test_thinking_is_shown_and_metered_in_its_own_bucket(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme = chain.tenant()
    wish: dict[str, Any] = {"reasoning_effort": "low"}
    if dialect == "anthropic":
        wish = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}
    body = body_of(dialect, f"{upstream}/hacxgpt", "What is 2+2?", streamed=streamed, **wish)

    said = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)

    assert said["thinking"].startswith('The last message says: "What is 2+2?".')
    assert said["text"] == "2+2 equals 4."
    usage = chain.usage_of(acme)
    assert (usage.output, usage.reasoning) == (6, 33)


@ACROSS
@BOTH_WAYS
def test_a_picture_goes_across(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    body = body_of(dialect, f"{upstream}/hacxgpt", "What is this?", streamed=streamed)
    picture: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    document: Any = {
        "type": "file",
        "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
    }
    if dialect == "anthropic":
        source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        picture = {"type": "image", "source": source}
        source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
        document = {"type": "document", "source": source}
    text = {"type": "text", "text": "What is this?"}
    body["messages"][-1]["content"] = [picture, text, document]

    said = read(dialect, chain.ask(chain.tenant(), dialect, body), streamed=streamed)

    assert said["text"].startswith("I have received 1 image and 1 document.")


@ACROSS
@BOTH_WAYS
def test_structured_output_goes_across(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: dict[str, Any] = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    }
    if dialect == "anthropic":
        form = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    body = body_of(dialect, f"{upstream}/hacxgpt", "A number?", streamed=streamed, **form)

    said = read(dialect, chain.ask(chain.tenant(), dialect, body), streamed=streamed)

    assert list(json.loads(said["text"])) == ["n"]


@BOTH_WAYS
def test_more_stop_sequences_than_the_upstream_takes_are_cut_here(
    chain: Chain, *, streamed: bool
) -> None:
    acme = chain.tenant()
    stops = {"stop_sequences": ["never", "ever", "and", "never again", " 4, 5"]}
    body = body_of("anthropic", "openai/hacxgpt", "Count from 1 to 30.", streamed=streamed, **stops)

    answer = chain.ask(acme, "anthropic", body)

    said = read("anthropic", answer, streamed=streamed)
    assert (said["text"], said["end"]) == ("1, 2, 3,", "stop_sequence")
    assert '"stop_sequence":" 4, 5"' in answer.text
    usage = chain.usage_of(acme)
    assert (usage.evidence, usage.output) == ("counted", 6)


@BOTH_WAYS
def test_several_choices_are_several_calls_and_one_usage(chain: Chain, *, streamed: bool) -> None:
    acme = chain.tenant()
    body = body_of("openai", "anthropic/hacxgpt", "What is 2+2?", streamed=streamed, n=3)

    answer = chain.ask(acme, "openai", body)

    assert answer.text.count('"finish_reason":"stop"') == 3
    usage = chain.usage_of(acme)
    assert (usage.output, usage.evidence) == (3 * 6, "provider")
    wait_for(lambda: UsageEvent.objects.filter(org_id=acme.org.pk).count() == 1)


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
def test_the_official_clients_accumulate_translated_streams(chain: Chain, upstream: str) -> None:
    acme, url = chain.tenant(), chain.second.api.url
    question: Any = [{"role": "user", "content": "What is the weather in Paris and London?"}]
    with Anthropic(api_key=acme.key_text, base_url=url + "/anthropic").messages.stream(
        model=f"{upstream}/hacxgpt", max_tokens=500, messages=question, tools=[WEATHER_TOOL]
    ) as messages:
        message = messages.get_final_message()
    with OpenAI(api_key=acme.key_text, base_url=url + "/v1").chat.completions.stream(
        model=f"{upstream}/hacxgpt",
        messages=question,
        tools=[OPENAI_TOOL],
        stream_options={"include_usage": True},
    ) as chunks:
        completion = chunks.get_final_completion()

    cities = [{"location": "Paris"}, {"location": "London"}]
    assert [block.input for block in message.content if block.type == "tool_use"] == cities
    calls = completion.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == cities
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == message.usage.input_tokens
    assert completion.usage.completion_tokens == message.usage.output_tokens

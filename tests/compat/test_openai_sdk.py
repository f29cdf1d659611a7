"""The rest of chat completions through OpenAI's client: old functions, odds, sound, thinking."""

import json
from typing import Any

import pytest
from openai import APIError, BadRequestError, OpenAI

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import post, wait_for
from tests.stage import Stage

FUNCTION: Any = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
}
WEATHER: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
STORY: Any = [{"role": "user", "content": "Tell me a story"}]
HOSTILE: list[dict[str, Any]] = [
    {"functions": {"a": 1}},
    {"functions": [[]]},
    {"functions": [{"name": "f", "parameters": {"$ref": "#/nowhere"}}], "function_call": {}},
    {"functions": [{"name": "\x00"}]},
    {"function_call": [1]},
    {"logprobs": "true"},
    {"logprobs": True, "top_logprobs": 2.0},
    {"logprobs": True, "top_logprobs": 21},
    {"logprobs": True, "top_logprobs": 20, "n": 128},
    {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": []}]}]},
    {"messages": [{"role": "function", "name": "f"}, {"role": "function"}]},
    {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": {}}}]},
]


@pytest.fixture
def client(stage: Stage) -> OpenAI:
    return OpenAI(
        api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0, timeout=30
    )


def test_a_function_is_called_and_its_result_answered_as_before_tools(client: OpenAI) -> None:
    asked: Any = {"model": "hacxgpt", "messages": WEATHER, "functions": [FUNCTION]}
    choice = client.chat.completions.create(**asked).choices[0]
    name, arguments, reason = "", "", None
    for chunk in client.chat.completions.create(**asked, stream=True):
        call = chunk.choices[0].delta.function_call
        name += (call and call.name) or ""
        arguments += (call and call.arguments) or ""
        reason = chunk.choices[0].finish_reason or reason

    assert (choice.finish_reason, reason) == ("function_call", "function_call")
    assert choice.message.function_call is not None
    assert choice.message.tool_calls is None
    assert json.loads(choice.message.function_call.arguments) == {"location": "Oslo"}
    assert (name, arguments) == ("get_weather", choice.message.function_call.arguments)

    told = [
        *WEATHER,
        choice.message.model_dump(exclude_none=True),
        {"role": "function", "name": "get_weather", "content": "snow"},
    ]
    answer = client.chat.completions.create(
        model="hacxgpt", messages=told, functions=[FUNCTION], function_call="auto"
    )
    assert answer.choices[0].message.content == "Here is what I found: snow"
    assert answer.choices[0].finish_reason == "stop"


def test_the_stream_helper_gathers_the_odds_of_every_token(client: OpenAI) -> None:
    asked: Any = {
        "model": "hacxgpt",
        "messages": [{"role": "user", "content": "Say hello in three words"}],
        "logprobs": True,
        "top_logprobs": 2,
    }
    whole = client.chat.completions.create(**asked).choices[0]
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0]

    assert whole.logprobs is not None
    assert streamed.logprobs is not None
    assert whole.logprobs.content == streamed.logprobs.content
    tokens = [entry.token for entry in whole.logprobs.content or ()]
    assert "".join(tokens) == whole.message.content
    assert len(tokens) > 2


def test_a_recording_is_read_and_billed_by_its_length(stage: Stage, client: OpenAI) -> None:
    audio: Any = {"type": "input_audio", "input_audio": {"data": "UklG" * 800, "format": "wav"}}
    answer = client.chat.completions.create(
        model="hacxgpt",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Listen"}, audio]}],
    )

    assert (answer.choices[0].message.content or "").startswith("I have received 1 recording.")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3 + 4 + 1 + 100 + 10
    assert_proven(stage.stores.database_url, stage.journals)


def test_thinking_is_shown_billed_apart_and_may_be_sent_back(stage: Stage, client: OpenAI) -> None:
    asked: Any = {
        "model": "hacxgpt",
        "messages": [{"role": "user", "content": "Say hello"}],
        "reasoning_effort": "low",
    }
    message = client.chat.completions.create(**asked)
    thought: Any = message.choices[0].message.model_extra
    pieces = [
        (chunk.choices[0].delta.model_extra or {}).get("reasoning_content") or ""
        for chunk in client.chat.completions.create(**asked, stream=True)
    ]
    back = [
        *asked["messages"],
        message.choices[0].message.model_dump(exclude_none=True),
        {"role": "user", "content": "Say hello"},
    ]
    again = client.chat.completions.create(model="hacxgpt", messages=back)

    assert thought["reasoning_content"] == "".join(pieces) != ""
    assert message.choices[0].message.content == again.choices[0].message.content == "Hello!"
    assert message.usage is not None
    assert message.usage.completion_tokens_details is not None
    reasoning = message.usage.completion_tokens_details.reasoning_tokens
    request_id = "req_" + message.id.removeprefix("chatcmpl-")
    event = wait_for(UsageEvent.objects.filter(request_id=request_id).first)
    assert (event.reasoning, event.output) == (reasoning, 2)


@pytest.mark.parametrize("fields", HOSTILE)
@pytest.mark.parametrize("streamed", [False, True])
def test_hostile_values_are_refused_and_cost_nothing(
    stage: Stage, fields: dict[str, Any], *, streamed: bool
) -> None:
    body = {"model": "hacxgpt", "messages": WEATHER, "stream": streamed, **fields}

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert answer.status_code == 400
    assert sorted(answer.json()["error"]) == ["code", "message", "param", "type"]
    assert stage.acme.account.held_nanos == 0


def test_the_refusals_reach_the_client_by_their_field(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="hacxgpt", messages=WEATHER, top_logprobs=2)

    assert (caught.value.param, caught.value.code) == ("top_logprobs", "invalid_value")


def test_a_stream_that_breaks_raises_the_clients_error_which_has_no_status(
    client: OpenAI, stage: Stage
) -> None:
    asked: Any = {"model": "hacxgpt-faulty", "messages": STORY, "stream": True}
    chunks = client.chat.completions.create(**asked)
    pieces: list[str | None] = []

    with pytest.raises(APIError) as caught:
        pieces.extend(chunk.choices[0].delta.content for chunk in chunks)

    assert type(caught.value) is APIError
    assert not hasattr(caught.value, "status_code")
    assert caught.value.message == "The model's provider broke off its answer."
    assert (caught.value.type, caught.value.param) == ("server_error", None)
    assert caught.value.code == "upstream_error"
    event = wait_for(UsageEvent.objects.filter(org_id=stage.acme.org.pk).first)
    assert (event.outcome, event.output) == ("truncated", sum(map(bool, pieces)))
    assert sum(map(bool, pieces)) > 20

"""What upstreams of both dialects are really sent for a response, and what never reaches them."""

from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import post, transcript
from tests.servers import Server
from tests.stage import Stage
from tests.stage import own_house as house

__all__ = ["house"]

PNG = "data:image/png;base64,iVBORw=="
SCHEMA = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
    "additionalProperties": False,
}
CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"location":"Oslo"}',
}
SHOWN = [{"type": "input_text", "text": "See:"}, {"type": "input_image", "image_url": PNG}]
ASKED: dict[str, Any] = {
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": "Is it cold in Oslo?"},
        CALL,
        {"type": "function_call_output", "call_id": "call_1", "output": SHOWN},
    ],
    "tools": [
        {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True},
        {"type": "function", "name": "buy_coat", "parameters": {"type": "object"}},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "get_weather"}],
    },
    "max_output_tokens": 300,
    "temperature": 0.5,
    "prompt_cache_key": "weather",
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
}
OPENAI: dict[str, Any] = {
    "model": "tools",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it cold in Oslo?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"location":"Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "See:"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 300,
    "temperature": 0.5,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
    },
    "tools": [
        {
            "type": "function",
            "function": {"name": "get_weather", "parameters": SCHEMA, "strict": True},
        }
    ],
    "tool_choice": "auto",
    "prompt_cache_key": "weather",
}
ANTHROPIC: dict[str, Any] = {
    "model": "tools",
    "max_tokens": 300,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Is it cold in Oslo?"}]},
        {
            "role": "assistant",
            "content": [
                {
                    "type": "tool_use",
                    "id": "call_1",
                    "name": "get_weather",
                    "input": {"location": "Oslo"},
                }
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": [
                        {"type": "text", "text": "See:"},
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": "iVBORw==",
                            },
                        },
                    ],
                }
            ],
        },
    ],
    "stream": True,
    "temperature": 0.5,
    "tools": [{"name": "get_weather", "input_schema": SCHEMA, "strict": True}],
    "tool_choice": {"type": "auto"},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}


def ask(stage: Stage, upstream: str, **fields: Any) -> Any:
    body = {"model": f"{upstream}-tools", **ASKED, **fields}
    return post(stage.api.url, stage.acme.key_text, body, path="/v1/responses")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("upstream", "body"), [("openai", OPENAI), ("anthropic", ANTHROPIC)])
def test_a_response_is_asked_of_an_upstream_in_these_words(
    stage: Stage, recordings: Server, upstream: str, body: Any, *, streamed: bool
) -> None:
    answer = ask(stage, upstream, stream=streamed)

    assert answer.status_code == 200
    assert transcript(recordings.url)[-1] == body


@pytest.mark.parametrize(
    ("upstream", "fields", "param"),
    [
        ("openai", {"service_tier": "priority"}, "service_tier"),
        ("anthropic", {"text": {"verbosity": "low"}}, "text.verbosity"),
        ("anthropic", {"input": [{"role": "user", "content": " "}]}, "input[0].content"),
    ],
)
def test_what_cannot_be_said_is_refused_by_the_callers_field_before_anybody_is_asked(
    stage: Stage, recordings: Server, upstream: str, fields: Any, param: str
) -> None:
    before = len(transcript(recordings.url))

    answer = ask(stage, upstream, **fields)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_value", param)
    assert len(transcript(recordings.url)) == before
    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 0
    assert Hold.objects.filter(org_id=stage.acme.org.pk, state="settled").count() == 0
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_model_that_thinks_is_told_its_limit_by_the_name_it_knows(
    stage: Stage, recordings: Server, *, streamed: bool
) -> None:
    body = {
        "model": "openai-thinking",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": streamed,
    }

    post(stage.api.url, stage.acme.key_text, body)
    plain = transcript(recordings.url)[-1]
    post(stage.api.url, stage.acme.key_text, {**body, "max_tokens": 9})
    limited = transcript(recordings.url)[-1]

    usage = {"stream_options": {"include_usage": True}} if streamed else {}
    assert plain == {**body, **usage, "model": "thinking", "max_completion_tokens": 8192}
    assert limited == {**plain, "max_completion_tokens": 9}

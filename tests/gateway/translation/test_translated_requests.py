"""Requests across dialects: what is sent to an upstream, and what is refused by its field."""

from typing import Any

import pytest

from tests.gateway.dialects import asking
from tests.gateway.dialects.asking import WEATHER as OPENAI_WEATHER
from tests.gateway.translation.saying import (
    ANTHROPIC_WEATHER,
    HELLO,
    SCHEMA,
    anthropic_body,
    openai_body,
)


def test_a_plain_request_to_anthropic_is_this() -> None:
    assert anthropic_body() == {
        "model": "up-1",
        "max_tokens": asking.MAX_OUTPUT,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "stream": True,
    }


def test_a_plain_request_to_openai_is_this() -> None:
    assert openai_body() == {
        "model": "up-1",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 1024,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_parameter_goes_to_anthropic_that_has_a_counterpart() -> None:
    body = anthropic_body(
        messages=[
            {"role": "system", "content": "Be brief."},
            HELLO,
            {"role": "developer", "content": "Be kind."},
        ],
        max_completion_tokens=50,
        temperature=1.7,
        stop=["END", "\n\n"],
        seed=7,
        presence_penalty=1,
        frequency_penalty=1,
        logit_bias={"5": 1},
        user="bob",
        reasoning_effort="minimal",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    )

    assert body == {
        "model": "up-1",
        "max_tokens": 50,
        "system": "Be brief.\n\nBe kind.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "temperature": 1,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "bob"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
        "stream": True,
    }


def test_every_parameter_goes_to_openai_that_has_a_counterpart() -> None:
    body = openai_body(
        system="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["END"],
        metadata={"user_id": "bob"},
        service_tier="auto",
        output_config={"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
    )

    assert body == {
        "model": "up-1",
        "messages": [{"role": "system", "content": "Be brief."}, HELLO],
        "max_completion_tokens": 1024,
        "reasoning_effort": "max",
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "bob",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_where_thinking_is_asked_for_nothing_says_how_tokens_are_drawn() -> None:
    drawn = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
    tools = {"tools": [OPENAI_WEATHER], "tool_choice": "required"}

    thinking = anthropic_body(reasoning_effort="high", **drawn)
    plain = anthropic_body(reasoning_effort="none", **drawn)
    calling = anthropic_body(reasoning_effort="high", **drawn, **tools)

    assert thinking["thinking"] == {"type": "adaptive"}
    assert drawn.keys().isdisjoint(thinking)
    assert (plain["temperature"], plain["top_k"]) == (0.5, 5)
    assert (calling["temperature"], calling["top_k"], "thinking" in calling) == (0.5, 5, False)


@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (1, 1), (0, None), (-1, None), (None, None)])
def test_top_k_goes_to_anthropic_unless_it_is_off(asked: int | None, sent: int | None) -> None:
    assert anthropic_body(top_k=asked).get("top_k") == sent


@pytest.mark.parametrize("strict", [True, False, None])
def test_strict_tools_stay_strict_both_ways(*, strict: bool | None) -> None:
    said: dict[str, Any] = {} if strict is None else {"strict": strict}
    weather: dict[str, Any] = dict(OPENAI_WEATHER)
    function = {**weather["function"], **said}

    to_anthropic_tool = anthropic_body(tools=[{**OPENAI_WEATHER, "function": function}])["tools"]
    to_openai_tool = openai_body(tools=[{**ANTHROPIC_WEATHER, **said}])["tools"]

    assert to_anthropic_tool == [{**ANTHROPIC_WEATHER, **said}]
    assert to_openai_tool == [{"type": "function", "function": function}]


CLOSED = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "properties": {"n": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
        ({**CLOSED, "$defs": {"a": CLOSED}, "properties": {"n": {"$ref": "#/$defs/a"}}}, True),
        ({**CLOSED, "required": []}, None),
        ({**CLOSED, "properties": {"n": {"allOf": [CLOSED]}}}, None),
        ({"anyOf": [CLOSED]}, None),
        ({**CLOSED, "additionalProperties": True}, None),
        ({**CLOSED, "properties": {"n": {"type": ["object", "null"]}}}, None),
        ({**CLOSED, "properties": {"n": {"type": "array", "items": SCHEMA}}}, None),
        ({**CLOSED, "$defs": {"a": SCHEMA}}, None),
    ],
)
def test_a_schema_binds_at_openai_where_it_can(schema: Any, strict: bool | None) -> None:  # noqa: FBT001 # parametrized
    body = openai_body(output_config={"format": {"type": "json_schema", "schema": schema}})

    assert body["response_format"]["json_schema"].get("strict") is strict


def test_of_temperature_and_top_p_anthropic_takes_one() -> None:
    assert anthropic_body(top_p=0.3)["top_p"] == 0.3
    both = anthropic_body(top_p=0.3, temperature=0.2)
    assert (both["temperature"], "top_p" in both) == (0.2, False)


@pytest.mark.parametrize(
    ("effort", "fields"),
    [
        ("none", {"thinking": {"type": "disabled"}}),
        ("minimal", {"output_config": {"effort": "low"}}),
        ("high", {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}}),
    ],
)
def test_effort_becomes_effort_or_thinking(effort: str, fields: Any) -> None:
    body = anthropic_body(reasoning_effort=effort)

    assert {name: body[name] for name in ("output_config", "thinking") if name in body} == fields


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "disabled"}, None),
        ({"type": "adaptive"}, None),
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
    ],
)
def test_thinking_becomes_effort(thinking: Any, effort: str | None) -> None:
    assert openai_body(thinking=thinking, max_tokens=2048).get("reasoning_effort") == effort


@pytest.mark.parametrize(
    ("fields", "user_id"),
    [
        ({"user": "bob"}, "bob"),
        ({"safety_identifier": "hash"}, "hash"),
        ({"user": "bob", "safety_identifier": "hash"}, "hash"),
    ],
)
def test_who_asks_is_told_to_anthropic_by_either_name(fields: Any, user_id: str) -> None:
    assert anthropic_body(**fields)["metadata"] == {"user_id": user_id}


def test_five_stop_sequences_are_not_sent_to_openai() -> None:
    assert "stop" not in openai_body(stop_sequences=list("abcde"))


def test_json_mode_becomes_an_instruction() -> None:
    body = anthropic_body(response_format={"type": "json_object"})

    assert body["system"].startswith("Answer with one JSON object and nothing else")


def test_system_text_alone_asks_as_the_user() -> None:
    body = anthropic_body(messages=[{"role": "system", "content": "Say hello."}])

    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": "Say hello."}]

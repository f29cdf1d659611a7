"""Requests across dialects: what is sent to an upstream, and what is refused by its field."""

from typing import Any

import orjson
import pytest

from gateway.chat import ChatRequest
from gateway.dialects.anthropic import outgoing as to_anthropic
from gateway.dialects.openai import outgoing as to_openai
from kernel.errors import BadRequestError
from tests.gateway.dialects import anthropic_asking, asking
from tests.gateway.dialects.asking import CALL as OPENAI_CALL
from tests.gateway.dialects.asking import WEATHER as OPENAI_WEATHER

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
HELLO = {"role": "user", "content": "Hello"}
TWO = {"type": "function", "function": {"name": "f"}}
ANTHROPIC_WEATHER = anthropic_asking.WEATHER


def anthropic_body(**fields: Any) -> Any:
    """Return what an Anthropic upstream is sent for an OpenAI request."""
    return sent(to_anthropic.render_request(asking.ask(**fields), "up-1", 8_192))


def openai_body(**fields: Any) -> Any:
    """Return what an OpenAI upstream is sent for an Anthropic request."""
    return sent(to_openai.render_request(anthropic_asking.ask(**fields), "up-1", 8_192))


def sent(body: bytes) -> Any:
    return orjson.loads(body)


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


def test_five_stop_sequences_are_not_sent_to_openai() -> None:
    assert "stop" not in openai_body(stop_sequences=list("abcde"))


@pytest.mark.parametrize(
    ("fields", "choice", "names"),
    [
        ({}, {"type": "auto"}, ["get_weather", "f"]),
        ({"tool_choice": "none"}, {"type": "none"}, ["get_weather", "f"]),
        ({"tool_choice": "required"}, {"type": "any"}, ["get_weather", "f"]),
        (
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
            ["get_weather", "f"],
        ),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f"},
            ["get_weather", "f"],
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [TWO]},
                }
            },
            {"type": "auto"},
            ["f"],
        ),
    ],
)
def test_tools_go_to_anthropic(fields: Any, choice: Any, names: list[str]) -> None:
    body = anthropic_body(tools=[OPENAI_WEATHER, TWO], **fields)

    assert body["tool_choice"] == choice
    assert [tool["name"] for tool in body["tools"]] == names
    if len(names) == 2:
        assert body["tools"] == [
            ANTHROPIC_WEATHER,
            {"name": "f", "input_schema": {"type": "object"}},
        ]


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, "auto", None),
        ({"type": "none"}, "none", None),
        ({"type": "any"}, "required", None),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
        (
            {"type": "tool", "name": "get_weather"},
            {"type": "function", "function": {"name": "get_weather"}},
            None,
        ),
    ],
)
def test_tools_go_to_openai(choice: Any, expected: Any, parallel: bool | None) -> None:  # noqa: FBT001 # parametrized
    other = {"name": "f", "input_schema": {"type": "object"}}

    body = openai_body(tools=[ANTHROPIC_WEATHER, other], tool_choice=choice)

    assert body["tools"][0] == OPENAI_WEATHER
    assert body["tool_choice"] == expected
    assert body.get("parallel_tool_calls") is parallel


def test_turns_with_tools_go_to_anthropic_as_blocks() -> None:
    second = {**OPENAI_CALL, "id": "call_2"}
    body = anthropic_body(
        messages=[
            HELLO,
            {"role": "assistant", "content": "Both.", "tool_calls": [OPENAI_CALL, second]},
            {"role": "tool", "tool_call_id": "call_1", "content": "15"},
            {"role": "tool", "tool_call_id": "call_2", "content": ""},
            {"role": "user", "content": "Well?"},
        ]
    )

    use = {"type": "tool_use", "name": "get_weather", "input": {"location": "Oslo"}}
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Both."},
                {**use, "id": "call_1"},
                {**use, "id": "call_2"},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "15"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": ""},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


def test_turns_with_tools_go_to_openai_as_messages() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    first = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    body = openai_body(
        messages=[
            HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    first,
                    {**first, "id": "b"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [image]},
                    {
                        "type": "tool_result",
                        "tool_use_id": "b",
                        "content": "no such city",
                        "is_error": True,
                    },
                    {"type": "text", "text": "Well?"},
                ],
            },
        ]
    )

    function = {"type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    url = {"url": f"data:image/png;base64,{PNG}"}
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", **function}, {"id": "b", **function}],
        },
        {"role": "tool", "tool_call_id": "a", "content": ""},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no such city"},
        {"role": "user", "content": [{"type": "image_url", "image_url": url}]},
        {"role": "user", "content": "Well?"},
    ]


def test_an_old_function_call_gets_an_id_that_its_result_names() -> None:
    legacy = {"name": "f", "arguments": "{}"}
    messages = [
        HELLO,
        {"role": "assistant", "content": None, "function_call": legacy},
        {"role": "function", "name": "f", "content": "done"},
    ]

    body = anthropic_body(messages=messages)

    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}],
        },
    ]


def test_media_go_to_anthropic_as_sources() -> None:
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": f"data:image/PNG;base64,{PNG}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
        },
    ]

    content = anthropic_body(messages=[{"role": "user", "content": parts}])["messages"][0][
        "content"
    ]

    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert content == [
        {"type": "text", "text": "See"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": pdf, "title": "a.pdf"},
    ]


def test_json_mode_becomes_an_instruction() -> None:
    body = anthropic_body(response_format={"type": "json_object"})

    assert body["system"].startswith("Answer with one JSON object and nothing else")


def test_system_text_alone_asks_as_the_user() -> None:
    body = anthropic_body(messages=[{"role": "system", "content": "Say hello."}])

    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": "Say hello."}]


def refused(render: Any, request: ChatRequest) -> str | None:
    with pytest.raises(BadRequestError) as caught:
        render(request, "up-1", 8_192)
    return caught.value.param


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (
            [
                HELLO,
                {
                    "role": "user",
                    "content": [
                        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
                    ],
                },
            ],
            "messages[1].content[0].video_url",
        ),
        ([{"role": "user", "content": ""}], "messages[0].content"),
        ([{"role": "system", "content": ""}], "messages[0].content"),
        (
            [
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {"name": "f", "arguments": "{"},
                },
                HELLO,
            ],
            "messages[0].function_call.arguments",
        ),
        ([HELLO, {"role": "function", "name": "f", "content": "x"}], "messages[1].name"),
    ],
)
def test_what_anthropic_cannot_be_told_is_refused_by_its_field(messages: Any, param: str) -> None:
    assert refused(to_anthropic.render_request, asking.ask(messages=messages)) == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "url", "url": "https://example.com/a.pdf"},
                            }
                        ],
                    }
                ]
            },
            "messages.0.content.0.source",
        ),
        (
            {"tools": [{"name": "f" * 65, "input_schema": {"type": "object"}}]},
            "tools.0.name",
        ),
        (
            {"tools": [{"name": f"f{n}", "input_schema": {"type": "object"}} for n in range(129)]},
            "tools",
        ),
    ],
)
def test_what_openai_cannot_be_told_is_refused_by_its_field(fields: Any, param: str) -> None:
    assert refused(to_openai.render_request, anthropic_asking.ask(**fields)) == param

"""Tools, turns with tools, and media, as the other dialect has them."""

from typing import Any

import pytest

from tests.gateway.dialects.asking import CALL as OPENAI_CALL
from tests.gateway.dialects.asking import WEATHER as OPENAI_WEATHER
from tests.gateway.translation.saying import (
    ANTHROPIC_WEATHER,
    HELLO,
    PNG,
    anthropic_body,
    openai_body,
)

TWO = {"type": "function", "function": {"name": "f"}}


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


def test_media_go_to_openai_as_parts() -> None:
    picture = {"type": "base64", "media_type": "image/png", "data": PNG}
    blocks = [
        {"type": "text", "text": "See"},
        {"type": "image", "source": picture},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        },
    ]

    content = openai_body(messages=[{"role": "user", "content": blocks}])["messages"][0]["content"]

    file = {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}
    assert content == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": file},
    ]


def test_system_blocks_are_one_message_first() -> None:
    blocks = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]

    body = openai_body(system=blocks, messages=[HELLO])

    assert body["messages"] == [{"role": "system", "content": "Be brief.\n\nBe kind."}, HELLO]


@pytest.mark.parametrize("call_id", ["call_1", "toolu_01Abc", "chatcmpl-tool-7", "x"])
def test_the_ids_of_calls_are_kept_both_ways(call_id: str) -> None:
    result = {"type": "tool_result", "tool_use_id": call_id, "content": "15"}
    use = {"type": "tool_use", "id": call_id, "name": "get_weather", "input": {}}
    call = {**OPENAI_CALL, "id": call_id}
    told = {"role": "tool", "tool_call_id": call_id, "content": "15"}

    to_anthropic = anthropic_body(
        messages=[HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}, told]
    )["messages"]
    to_openai = openai_body(
        messages=[
            HELLO,
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ]
    )["messages"]

    assert to_anthropic[1]["content"][0]["id"] == call_id
    assert to_anthropic[2]["content"] == [result]
    assert to_openai[1]["tool_calls"][0]["id"] == call_id
    assert to_openai[2] == told

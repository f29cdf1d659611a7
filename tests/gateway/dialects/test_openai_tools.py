"""Tools, the choice among them, and the form of the answer."""

from typing import Any

import pytest

from gateway.chat import FormatKind, ToolMode
from tests.gateway.dialects.asking import WEATHER, ask, refusal_of

MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


def schema(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", **fields}}


@pytest.mark.parametrize(
    ("tools", "code", "param"),
    [
        ("x", TYPE, "tools"),
        (0, TYPE, "tools"),
        ({}, TYPE, "tools"),
        ([1], TYPE, "tools[0]"),
        ([tool()] * 129, "array_above_max_length", "tools"),
        ([{"function": {"name": "f"}}], MISSING, "tools[0].type"),
        ([{"type": "custom", "custom": {}}], "unsupported_value", "tools[0].type"),
        ([{"type": "web_search"}], VALUE, "tools[0].type"),
        ([{"type": "function"}], MISSING, "tools[0].function"),
        ([tool(name=None)], MISSING, "tools[0].function.name"),
        ([tool(), tool(name="a b")], VALUE, "tools[1].function.name"),
        ([tool(name="")], VALUE, "tools[0].function.name"),
        ([tool(name="a.b")], VALUE, "tools[0].function.name"),
        ([tool(name="é")], VALUE, "tools[0].function.name"),
        ([tool(name=1)], TYPE, "tools[0].function.name"),
        ([tool(name="a" * 65)], "string_above_max_length", "tools[0].function.name"),
        ([tool(description=1)], TYPE, "tools[0].function.description"),
        ([tool(strict="yes")], TYPE, "tools[0].function.strict"),
        ([tool(parameters="x")], TYPE, "tools[0].function.parameters"),
        ([tool(parameters={"type": "string"})], VALUE, "tools[0].function.parameters"),
        ([tool(parameters={"type": "thing"})], VALUE, "tools[0].function.parameters"),
        ([tool(parameters={"properties": {"a": 1}})], VALUE, "tools[0].function.parameters"),
        ([tool(parameters={"required": "a"})], VALUE, "tools[0].function.parameters"),
    ],
)
def test_a_wrong_tool_is_refused_with_its_path(tools: Any, code: str, param: str) -> None:
    assert refusal_of(tools=tools) == (code, param)


@pytest.mark.parametrize(
    ("choice", "code", "param"),
    [
        ("maybe", VALUE, "tool_choice"),
        (1, TYPE, "tool_choice"),
        ({}, MISSING, "tool_choice.type"),
        ({"type": "function"}, MISSING, "tool_choice.function"),
        ({"type": "function", "function": {}}, MISSING, "tool_choice.function.name"),
        ({"type": "function", "function": {"name": "g"}}, VALUE, "tool_choice"),
        ({"type": "allowed_tools"}, MISSING, "tool_choice.allowed_tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [tool()]}},
            VALUE,
            "tool_choice.allowed_tools.mode",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
            "empty_array",
            "tool_choice.allowed_tools.tools",
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [WEATHER, tool()]},
            },
            VALUE,
            "tool_choice",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"tools": [WEATHER]}},
            MISSING,
            "tool_choice.allowed_tools.mode",
        ),
        ({"type": "custom", "custom": {"name": "f"}}, "unsupported_value", "tool_choice.type"),
    ],
)
def test_a_wrong_choice_is_refused_with_its_path(choice: Any, code: str, param: str) -> None:
    assert refusal_of(tools=[WEATHER], tool_choice=choice) == (code, param)


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "f"}},
        *(
            {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tool()]}}
            for mode in ("auto", "required")
        ),
    ],
)
def test_a_call_cannot_be_demanded_without_tools(choice: Any) -> None:
    assert refusal_of(tool_choice=choice) == ("invalid_value", "tool_choice")


def test_tools_may_be_called_unless_said_otherwise() -> None:
    assert ask(tools=[WEATHER]).tool_mode is ToolMode.AUTO
    assert ask(tools=[WEATHER], tool_choice="none").tool_mode is ToolMode.NONE
    assert ask(tools=[WEATHER], tool_choice="required").tool_mode is ToolMode.REQUIRED
    assert ask(tool_choice="auto").tool_mode is ToolMode.NONE


def test_a_choice_narrows_the_tools_and_all_still_count() -> None:
    tools = [WEATHER, tool(), tool(name="g")]
    named = ask(tools=tools, tool_choice={"type": "function", "function": {"name": "f"}})
    allowed = {"mode": "auto", "tools": [tool(), tool(name="g")]}
    some = ask(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})

    assert ([t.name for t in named.tools], named.tool_mode) == (["f"], ToolMode.REQUIRED)
    assert ([t.name for t in some.tools], some.tool_mode) == (["f", "g"], ToolMode.AUTO)
    assert [t.name for t in some.defined_tools] == ["get_weather", "f", "g"]
    assert some.defined_tools[1].definition == '{"name":"f","description":"","parameters":{}}'


@pytest.mark.parametrize(
    ("wanted", "code", "param"),
    [
        ("json", TYPE, "response_format"),
        ({}, MISSING, "response_format.type"),
        ({"type": "xml"}, VALUE, "response_format.type"),
        ({"type": "json_schema"}, MISSING, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {}}, MISSING, "response_format.json_schema.name"),
        (schema(name="a b"), VALUE, "response_format.json_schema.name"),
        (schema(schema=[]), TYPE, "response_format.json_schema.schema"),
        (schema(schema={"type": "x"}), VALUE, "response_format.json_schema.schema"),
        (schema(schema={"minLength": -1}), VALUE, "response_format.json_schema.schema"),
        (schema(schema={"anyOf": 1}), VALUE, "response_format.json_schema.schema"),
        (schema(schema={"properties": []}), VALUE, "response_format.json_schema.schema"),
        (schema(schema={"items": [1]}), VALUE, "response_format.json_schema.schema"),
        (schema(strict=1), TYPE, "response_format.json_schema.strict"),
        (schema(description=1), TYPE, "response_format.json_schema.description"),
        (schema(name=1), TYPE, "response_format.json_schema.name"),
        (schema(name="a" * 65), "string_above_max_length", "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": "s"}, TYPE, "response_format.json_schema"),
    ],
)
def test_a_wrong_format_is_refused_with_its_path(wanted: Any, code: str, param: str) -> None:
    assert refusal_of(response_format=wanted) == (code, param)


def test_formats_are_read() -> None:
    assert (
        ask(response_format={"type": "json_object"}).response_format.kind is FormatKind.JSON_OBJECT
    )
    read = ask(response_format=schema(schema={"type": "object"}, strict=True)).response_format

    assert (read.kind, read.definition) == (FormatKind.JSON_SCHEMA, '{"type":"object"}')


def test_an_endless_schema_is_refused() -> None:
    properties = {f"field_{place}": {"type": "string"} for place in range(10_000)}
    wanted = schema(schema={"type": "object", "properties": properties})

    assert refusal_of(response_format=wanted) == (
        "invalid_value",
        "response_format.json_schema.schema",
    )


def test_a_schema_nested_beyond_reason_is_refused() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(70):
        deep = {"type": "array", "items": deep}

    assert refusal_of(response_format=schema(schema=deep))[0] == "invalid_value"

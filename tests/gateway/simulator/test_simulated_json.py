"""JSON mode, schemas and tools: what the simulator writes is valid and small."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest

from gateway.chat import StopReason
from gateway.providers.simulator import plan
from kernel.errors import BadRequestError
from tests.gateway.dialects.asking import CALL, WEATHER
from tests.gateway.simulator.asking import ask, said

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 3, "maxLength": 10},
        "age": {"type": "integer", "minimum": 18, "maximum": 20},
        "score": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.3},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
        "mood": {"enum": ["calm", "glad", None]},
        "kind": {"const": "person"},
        "nick": {"type": ["string", "null"]},
        "friend": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/pet"}]},
        "pet": {"$ref": "#/$defs/pet"},
    },
    "required": ["name", "age", "score", "tags", "mood", "kind", "nick", "friend", "pet"],
    "additionalProperties": False,
    "$defs": {
        "pet": {
            "type": "object",
            "properties": {"legs": {"type": "integer", "multipleOf": 4}},
            "required": ["legs"],
            "additionalProperties": False,
        }
    },
}
TREE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#"}},
        "left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["value", "children", "left"],
}
LIST = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"],
        }
    },
}


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def test_json_mode_answers_with_a_small_object() -> None:
    for text in (
        "List 3 colors as a JSON array",
        "Tell me a story",
        "What is 2+2?",
        "Repeat: " + "日" * 400,
    ):
        answer = plan(ask(text, response_format={"type": "json_object"}))

        assert isinstance(orjson.loads("".join(answer.choices[0].pieces)), dict)
        assert answer.usage.output < 100
        assert answer.choices[0].reason is StopReason.END


def test_a_list_that_is_asked_for_is_in_the_object() -> None:
    text = said("List 3 colors as a JSON array", response_format={"type": "json_object"})

    assert text == '{"colors":["red","green","blue"]}'


@pytest.mark.parametrize(
    "schema",
    [
        PERSON, TREE, LIST,
        {"type": "object"},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
        {"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"},
        {"type": "string", "pattern": "^(?:red|green)(-\\w+)?$"},
        {"type": "string", "pattern": "[0-9]+\\.[0-9]{2}"},
        {"type": "string", "format": "date-time"},
        {"type": "string", "minLength": 300, "maxLength": 301},
        {"type": "integer", "minimum": 7, "maximum": 7},
        {"type": "integer", "maximum": -5},
        {"type": "integer", "multipleOf": 7, "minimum": 15},
        {"type": "number", "minimum": 0.1, "maximum": 0.2},
        {"type": "null"},
        {"enum": [3, "x", None, {"a": 1}]},
        {"type": "string", "enum": [1, "x"]},
        {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                   {"properties": {"b": {"const": 1}}, "required": ["b"], "type": "object"}]},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
        {"type": "object", "required": ["x"]},
        {"type": "array", "contains": {"const": 5}},
        {"allOf": [{"type": "integer", "minimum": 3, "maximum": 9}, {"minimum": 5, "maximum": 6}]},
        {"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 4]}]},
        {"allOf": [{"anyOf": [{"type": "string"}]}, {"anyOf": [{"minLength": 9}]}]},
        {"anyOf": [{"type": "integer", "minimum": 2, "maximum": 1}, {"type": "null"}]},
        {"type": "object", "properties": {"a": False, "b": True}},
        {"items": {"type": "integer"}, "minItems": 1},
        {"minimum": 4, "exclusiveMinimum": 4, "multipleOf": 0.25},
        {"$ref": "#/anyOf/0", "anyOf": [{"type": "integer"}]},
        {"type": "string", "pattern": "^\\w{2,4}@[\\w.]+?\\.(com|org)$"},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        {"type": "array", "uniqueItems": True, "minItems": 3, "items": {"enum": [1, 2, 3]}},
    ],
)  # fmt: skip
def test_a_schema_is_kept_to(schema: Any) -> None:
    for seed in range(12):
        request = ask("Make one", response_format=schema_format(schema), seed=seed)
        answer = plan(request)

        jsonschema.validate(orjson.loads("".join(answer.choices[0].pieces)), schema)
        assert answer.usage.output < 300


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "string", "pattern": "(" * 400},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "integer", "minimum": 10**18 * 9, "multipleOf": 1e300},
        {"type": "string", "pattern": "(a{9999}){9999}"},
        {"type": "object", "minProperties": 10**9},
    ],
)
def test_a_schema_without_a_value_is_refused_soon(schema: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        plan(ask(response_format=schema_format(schema)))

    assert caught.value.code == "unsupported_value"
    assert caught.value.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("What is the weather in San Francisco?", ['{"location":"San Francisco"}']),
        ("What's the weather in Tokyo?", ['{"location":"Tokyo"}']),
        ("Weather for Paris and New York?", ['{"location":"Paris"}', '{"location":"New York"}']),
    ],
)
def test_a_tool_that_plainly_matches_is_called(text: str, arguments: list[str]) -> None:
    choice = plan(ask(text, tools=[WEATHER])).choices[0]

    assert [(c.name, "".join(c.arguments)) for c in choice.calls] == [
        ("get_weather", each) for each in arguments
    ]
    assert (choice.reason, choice.pieces) == (StopReason.TOOL_CALLS, ())


QUERY: Any = {
    "type": "function",
    "function": {
        "name": "Query",
        "parameters": {
            "type": "object",
            "properties": {"table_name": {"$ref": "#/$defs/Table"}, "enum": True},
            "required": ["table_name"],
            "$defs": {"Table": {"type": "string", "enum": ["orders", "delivered_at", 7]}},
        },
    },
}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("Look up all my orders that were not delivered on time", ["Query"]),
        ("Which orders stand in the table?", ["Query"]),
        ("Is there anything to query?", ["Query"]),
        ("Look up all my orders", []),
        ("Tell me a story", []),
    ],
)
def test_two_words_of_its_parameters_match_a_tool_plainly(text: str, calls: list[str]) -> None:
    choice = plan(ask(text, tools=[QUERY])).choices[0]

    assert [call.name for call in choice.calls] == calls


def test_one_call_at_most_where_calls_are_not_parallel() -> None:
    request = ask("Weather in Paris and Rome?", tools=[WEATHER], parallel_tool_calls=False)

    assert len(plan(request).choices[0].calls) == 1


def test_no_tool_is_called_that_does_not_match_or_may_not_be_called() -> None:
    for fields in (
        {"text": "Tell me a story"},
        {"text": "Weather in Rome?", "tool_choice": "none"},
    ):
        choice = plan(ask(tools=[WEATHER], **fields)).choices[0]

        assert (choice.calls, choice.reason) == ((), StopReason.END)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_demanded_tool_is_called_with_valid_arguments(choice: Any) -> None:
    made = plan(ask("Tell me a story", tools=[WEATHER], tool_choice=choice)).choices[0]

    assert [c.name for c in made.calls] == ["get_weather"]
    parameters = WEATHER["function"]["parameters"]  # type: ignore[index]
    jsonschema.validate(orjson.loads("".join(made.calls[0].arguments)), parameters)


def test_after_a_result_the_answer_is_text() -> None:
    messages = [
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain, 7 degrees"},
    ]
    choice = plan(ask(messages=messages, tools=[WEATHER])).choices[0]

    assert "".join(choice.pieces) == "Here is what I found: rain, 7 degrees"
    assert (choice.calls, choice.reason) == ((), StopReason.END)


@pytest.mark.parametrize("limit", range(1, 14))
def test_a_limit_cuts_a_call_to_exactly_so_many_tokens(limit: int) -> None:
    request = ask("Weather in Oslo?", tools=[WEATHER], max_tokens=limit)
    choice = plan(request).choices[0]

    assert choice.tokens == (0 if limit < 3 else min(limit, 12))
    assert choice.reason is (StopReason.LENGTH if limit < 12 else StopReason.TOOL_CALLS)

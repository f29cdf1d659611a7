"""Bodies and parameters: what is taken, what is refused, and in which words."""

from typing import Any

import orjson
import pytest

from gateway.chat import FormatKind, ToolMode
from gateway.dialects.anthropic import DIALECT
from gateway.tokenizer import count_prompt
from kernel.errors import BadRequestError
from tests.gateway.dialects import asking as openai
from tests.gateway.dialects.anthropic_asking import (
    HELLO,
    MAX_OUTPUT,
    WEATHER,
    ask,
    check_body,
    count,
    message_of,
    refusal_of,
)

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def refusal_of_body(body: bytes) -> str:
    with pytest.raises(BadRequestError) as caught:
        check_body(body)
    return message_of(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"1", b'"x"', b'{"model":', b"{} {}", b'{"a":NaN}', b'{"a":1e400}',
        b"\xff", '{"a":1}'.encode("utf-16"), b'{"a":"\\ud800"}', b"[" * 20_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal_of_body(body).endswith((".", "Field required"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"max_tokens": 5, "messages": [HELLO]}, "model: Field required"),
        (
            {"model": "", "max_tokens": 5, "messages": [HELLO]},
            "model: String should have at least 1 character",
        ),
        (
            {"model": None, "max_tokens": 5, "messages": [HELLO]},
            "model: Input should be a valid string",
        ),
        ({"model": "m", "max_tokens": 5}, "messages: Field required"),
        (
            {"model": "m", "max_tokens": 5, "messages": {}},
            "messages: Input should be a valid array",
        ),
        (
            {"model": "m", "max_tokens": 5, "messages": []},
            "messages: at least one message is required",
        ),
        ({"model": "m", "messages": [HELLO]}, "max_tokens: Field required"),
    ],
)
def test_what_is_required_is_named(body: dict[str, Any], message: str) -> None:
    assert refusal_of_body(orjson.dumps(body)) == message


WRONG: list[tuple[str, Any, str]] = [
    ("max_tokens", 0, "max_tokens: Input should be greater than or equal to 1"),
    ("max_tokens", -1, "max_tokens: Input should be greater than or equal to 1"),
    ("max_tokens", 1.5, "max_tokens: Input should be a valid integer"),
    ("max_tokens", True, "max_tokens: Input should be a valid integer"),
    ("max_tokens", "5", "max_tokens: Input should be a valid integer"),
    ("max_tokens", None, "max_tokens: Input should be a valid integer"),
    (
        "max_tokens",
        MAX_OUTPUT + 1,
        (
            "max_tokens: 4097 > 4096, which is the maximum allowed number of output tokens for "
            "hacxgpt"
        ),
    ),
    ("temperature", 1.1, "temperature: Input should be between 0 and 1"),
    ("temperature", "1", "temperature: Input should be a valid number"),
    ("temperature", False, "temperature: Input should be a valid number"),
    ("top_p", -0.1, "top_p: Input should be between 0 and 1"),
    ("top_k", -1, "top_k: Input should be greater than or equal to 0"),
    ("top_k", 0.5, "top_k: Input should be a valid integer"),
    ("stream", "yes", "stream: Input should be a valid boolean"),
    ("stream", 1, "stream: Input should be a valid boolean"),
    ("stop_sequences", "x", "stop_sequences: Input should be a valid array"),
    ("stop_sequences", [1], "stop_sequences.0: Input should be a valid string"),
    ("stop_sequences", ["a", ""], "stop_sequences.1: each stop sequence must be non-empty"),
    ("metadata", [], "metadata: Input should be an object"),
    ("metadata", {"user_id": 3}, "metadata.user_id: Input should be a valid string"),
    (
        "service_tier",
        "gold",
        "service_tier: Input should be one of 'auto', 'standard_only', not 'gold'",
    ),
    ("thinking", {}, "thinking.type: Field required"),
    ("thinking", {"type": "enabled"}, "thinking.budget_tokens: Field required"),
    (
        "thinking",
        {"type": "enabled", "budget_tokens": 1023},
        "thinking.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        "thinking",
        {"type": "enabled", "budget_tokens": 1024},
        "thinking.budget_tokens: `max_tokens` must be greater than this budget",
    ),
    (
        "thinking",
        {"type": "loud"},
        (
            "thinking.type: Input should be one of 'enabled', 'adaptive', 'between_tools', "
            "'disabled', not 'loud'"
        ),
    ),
    (
        "cache_control",
        {"type": "x"},
        "cache_control.type: Input should be one of 'ephemeral', not 'x'",
    ),
    (
        "output_config",
        {"effort": "huge"},
        (
            "output_config.effort: Input should be one of 'low', 'medium', 'high', "
            "'xhigh', 'max', not 'huge'"
        ),
    ),
    (
        "output_config",
        {"format": {"type": "json_schema"}},
        "output_config.format.schema: Field required",
    ),
    (
        "output_config",
        {"format": {"type": "json_object"}},
        "output_config.format.type: Input should be one of 'json_schema', not 'json_object'",
    ),
    (
        "output_config",
        {"format": {"type": "json_schema", "schema": {"type": "x"}}},
        "output_config.format.schema: JSON schema is invalid: #/type is not a type of JSON",
    ),
    ("tools", {}, "tools: Input should be a valid array"),
    ("tools", [1], "tools.0: Input should be an object"),
    ("tools", [{"input_schema": SCHEMA}], "tools.0.name: Field required"),
    (
        "tools",
        [{**WEATHER, "name": "a b"}],
        "tools.0.name: String should match pattern '^[A-Za-z0-9_-]{1,128}$'",
    ),
    ("tools", [{"name": "f"}], "tools.0.input_schema: Field required"),
    (
        "tools",
        [{"name": "f", "input_schema": {}}],
        "tools.0.input_schema.type: Input should be 'object'",
    ),
    (
        "tools",
        [{"name": "f", "input_schema": {"type": "object", "required": 1}}],
        "tools.0.input_schema: JSON schema is invalid: #/required is not an array of names",
    ),
    (
        "tools",
        [WEATHER, {"type": "web_search_20250305", "name": "web_search"}],
        "tools.1.type: The server tool 'web_search_20250305' is not supported by this server",
    ),
    ("tools", [WEATHER, WEATHER], "tools: Tool names must be unique"),
    ("tool_choice", "auto", "tool_choice: Input should be an object"),
    ("tool_choice", {}, "tool_choice.type: Field required"),
    (
        "tool_choice",
        {"type": "some"},
        "tool_choice.type: Input should be one of 'auto', 'any', 'tool', 'none', not 'some'",
    ),
    (
        "tool_choice",
        {"type": "any"},
        "tool_choice: may only demand a tool while `tools` are given",
    ),
    (
        "tool_choice",
        {"type": "tool", "name": "f"},
        "tool_choice: may only demand a tool while `tools` are given",
    ),
    (
        "tool_choice",
        {"type": "auto", "disable_parallel_tool_use": 1},
        "tool_choice.disable_parallel_tool_use: Input should be a valid boolean",
    ),
    ("system", 5, "system: Input should be a valid string or an array of content blocks"),
    ("system", [{"type": "text"}], "system.0.text: Field required"),
    (
        "system",
        [{"type": "image"}],
        "system.0.type: Input tag 'image' does not match any of: 'text'",
    ),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_wrong_parameter_is_refused_with_its_path(field: str, value: Any, message: str) -> None:
    assert refusal_of(**{field: value}) == message


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_count_refuses_what_a_message_is_refused_for_but_for_its_limit(
    field: str, value: Any, message: str
) -> None:
    hangs_on_the_limit = (field, value) == ("max_tokens", None) or "`max_tokens` must" in message

    if hangs_on_the_limit:
        assert count(**{field: value}).model == "hacxgpt"
        return
    with pytest.raises(BadRequestError) as caught:
        count(**{field: value})
    assert message_of(caught.value) == message


def test_an_unknown_tool_cannot_be_chosen() -> None:
    choice = {"type": "tool", "name": "fly"}

    assert refusal_of(tools=[WEATHER], tool_choice=choice) == (
        "tool_choice.name: Tool 'fly' not found in provided tools"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0), ("temperature", 1.0), ("temperature", None), ("top_p", 0.5),
        ("top_k", 0), ("stop_sequences", []), ("stop_sequences", None), ("stream", None),
        ("metadata", {"user_id": "u"}), ("metadata", {"user_id": None}), ("service_tier", "auto"),
        ("cache_control", {"type": "ephemeral", "ttl": "1h"}), ("container", "c"),
        ("container", {"id": "c"}), ("diagnostics", {"previous_message_id": None}),
        ("inference_geo", "eu"), ("speed", "fast"), ("thinking", {"type": "disabled"}),
        ("thinking", {"type": "adaptive"}), ("thinking", {"type": "between_tools"}),
        ("output_config", {"effort": "low"}), ("output_config", {"effort": "medium"}),
        ("output_config", {"effort": "high"}), ("output_config", {"effort": "xhigh"}),
        ("output_config", {"effort": "max"}), ("output_config", {}), ("tools", []),
        ("tools", [{**WEATHER, "name": "a" * 64}]), ("tools", [{**WEATHER, "name": "Z-_9" * 32}]),
        ("service_tier", "standard_only"), ("speed", "standard"),
        ("tools", None), ("tool_choice", {"type": "none"}), ("tool_choice", {"type": "auto"}),
        ("system", ""), ("system", "Be brief."), ("system", [{"type": "text", "text": "x"}]),
        ("something_new", {"of": "tomorrow"}),
    ],
)  # fmt: skip
def test_official_fields_are_taken(field: str, value: Any) -> None:
    assert ask(**{field: value}).model == "hacxgpt"


def test_parameters_arrive() -> None:
    request = ask(
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        stop_sequences=["a", "b", "c", "d", "e"],
        metadata={"user_id": "bob"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
        stream=True,
    )

    assert (request.temperature, request.top_p, request.top_k) == (0.5, 0.9, 7)
    assert request.stop == ("a", "b", "c", "d", "e")
    assert (request.user, request.effort, request.stream) == ("bob", "high", True)
    assert request.response_format.kind is FormatKind.JSON_SCHEMA
    assert request.response_format.path == "output_config.format.schema"
    assert (request.max_tokens, request.n, request.dialect) == (1024, 1, "anthropic")


@pytest.mark.parametrize(
    ("thinking", "effort", "is_thinking"),
    [
        (None, None, False),
        ({"type": "disabled"}, None, False),
        ({"type": "adaptive"}, None, True),
        ({"type": "between_tools"}, None, True),
        ({"type": "enabled", "budget_tokens": 1024}, "low", True),
        ({"type": "enabled", "budget_tokens": 4095}, "low", True),
    ],
)
def test_thinking_is_asked_for_by_type(thinking: Any, effort: str, *, is_thinking: bool) -> None:
    request = ask(thinking=thinking, max_tokens=4096)

    assert (request.effort, request.is_thinking) == (effort, is_thinking)


@pytest.mark.parametrize(
    ("choice", "mode", "names", "are_parallel"),
    [
        (None, ToolMode.AUTO, ["get_weather", "f"], True),
        ({"type": "auto"}, ToolMode.AUTO, ["get_weather", "f"], True),
        ({"type": "none"}, ToolMode.NONE, ["get_weather", "f"], True),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            ToolMode.REQUIRED,
            ["get_weather", "f"],
            False,
        ),
        ({"type": "tool", "name": "f"}, ToolMode.REQUIRED, ["f"], True),
    ],
)
def test_the_choice_of_tools_is_understood(
    choice: Any, mode: ToolMode, names: list[str], *, are_parallel: bool
) -> None:
    other = {"name": "f", "type": "custom", "input_schema": {"type": "object"}, "strict": True}

    request = ask(tools=[WEATHER, other], tool_choice=choice)

    assert [tool.name for tool in request.tools] == names
    assert [tool.name for tool in request.defined_tools] == ["get_weather", "f"]
    assert (request.tool_mode, request.parallel_tool_calls) == (mode, are_parallel)


@pytest.mark.parametrize("system", [None, "Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_a_plain_message_counts_alike_in_both_dialects(system: Any) -> None:
    theirs = [{"role": "system", "content": "Be brief."}] if system else []
    theirs.append({"role": "user", "content": "What is the capital of France?"})
    tool = {
        "type": "function",
        "function": {
            "name": WEATHER["name"],
            "description": WEATHER["description"],
            "parameters": WEATHER["input_schema"],
        },
    }

    ours = ask("What is the capital of France?", system=system, tools=[WEATHER])

    assert count_prompt(ours) == count_prompt(openai.ask(messages=theirs, tools=[tool]))


def test_a_count_needs_no_limit_and_checks_the_rest() -> None:
    assert count_prompt(count()) == 3 + 4 + 1
    assert count(max_tokens=5).max_tokens == 5
    assert count(thinking={"type": "enabled", "budget_tokens": 5000}).is_thinking
    with pytest.raises(BadRequestError) as caught:
        count(temperature=2)
    assert message_of(caught.value) == "temperature: Input should be between 0 and 1"


def test_a_prompt_beyond_the_context_is_too_long_and_says_by_how_much() -> None:
    words = {"role": "user", "content": "word " * 200}
    body = orjson.dumps({"model": "hacxgpt", "max_tokens": 10, "messages": [words]})

    with pytest.raises(BadRequestError) as caught:
        check_body(body, context_tokens=100)

    assert message_of(caught.value) == "prompt is too long: 208 tokens > 100 maximum"


def test_the_limit_shrinks_to_the_room_that_is_left() -> None:
    words = {"role": "user", "content": "word " * 90}
    body = orjson.dumps({"model": "hacxgpt", "max_tokens": 100, "messages": [words]})

    assert check_body(body, context_tokens=150).max_tokens == 150 - (3 + 4 + 91)


def test_the_body_that_was_read_is_what_goes_on() -> None:
    body = b'{"model":"a","model":"b","max_tokens":5,"messages":[{"role":"user","content":"x"}]}'

    envelope = DIALECT.read_body(body)

    assert envelope.model == "b"
    assert check_body(body).wire is not None
    assert check_body(body).model == "b"

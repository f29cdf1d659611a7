"""What upstreams of both dialects are sent for a response, byte for byte of its meaning."""

from typing import Any

import orjson
import pytest

from gateway.dialects.anthropic import outgoing as to_anthropic
from gateway.dialects.extras import say_extras
from gateway.dialects.openai import outgoing as to_openai
from kernel.errors import NotCarriedError
from tests.gateway.responses.asking import MAX_OUTPUT, ask

PNG = "data:image/png;base64,iVBORw=="
PDF = "data:application/pdf;base64,JVBERg=="
TOOLS = [
    {"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("a", "b", "c")
]
CALL: Any = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
PLAIN: dict[str, Any] = {
    "model": "up-1",
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": MAX_OUTPUT,
}


def openai_body(sent: Any = "Hello", **fields: Any) -> Any:
    return orjson.loads(to_openai.render_request(ask(sent, **fields), "up-1", 8_192))


def anthropic_body(sent: Any = "Hello", **fields: Any) -> Any:
    return orjson.loads(to_anthropic.render_request(ask(sent, **fields), "up-1", 8_192))


def openai_tool(name: str) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def allowed(mode: str, *names: str) -> Any:
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": mode, "tools": tools}


def test_a_plain_response_is_asked_of_openai_so() -> None:
    assert openai_body() == PLAIN


def test_everything_that_chat_completions_have_goes_to_openai() -> None:
    labels = {
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "auto"},
        "safety_identifier": "s",
        "user": "bob",
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "flex",
    }
    tool = {**TOOLS[0], "strict": True, "description": "Does a."}
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}

    body = openai_body(
        instructions="Be brief.",
        temperature=0.5,
        top_p=0.9,
        tools=[tool],
        parallel_tool_calls=False,
        text={"format": {**form, "description": "An n."}, "verbosity": "low"},
        **labels,
    )

    function = {"name": "a", "description": "Does a.", "parameters": {"type": "object"}}
    assert body == {
        **PLAIN,
        **labels,
        "messages": [{"role": "system", "content": "Be brief."}, *PLAIN["messages"]],
        "temperature": 0.5,
        "top_p": 0.9,
        "tools": [{"type": "function", "function": {**function, "strict": True}}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "n",
                "description": "An n.",
                "schema": {"type": "object"},
                "strict": True,
            },
        },
    }


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "xhigh"])
def test_effort_is_said_as_it_was_asked_for(effort: str) -> None:
    body = openai_body(reasoning={"effort": effort})

    assert body == {
        **{name: value for name, value in PLAIN.items() if name != "max_tokens"},
        "max_completion_tokens": MAX_OUTPUT,
        "reasoning_effort": effort,
    }


def test_labels_of_what_is_not_stored_are_not_sent() -> None:
    assert openai_body(metadata={"a": "b"}) == PLAIN
    assert openai_body(metadata={"a": "b"}, store=False) == {**PLAIN, "store": False}


@pytest.mark.parametrize(
    ("choice", "offered", "said"),
    [
        (allowed("required", "b", "c"), "bc", "required"),
        (allowed("auto", "b"), "b", "auto"),
        (allowed("auto", "a", "b", "c"), "abc", "auto"),
        (allowed("required", "b"), "abc", {"type": "function", "function": {"name": "b"}}),
        (
            {"type": "function", "name": "c"},
            "abc",
            {"type": "function", "function": {"name": "c"}},
        ),
        ("required", "abc", "required"),
        ("none", "abc", "none"),
    ],
)
def test_a_tool_that_is_not_allowed_cannot_be_called_at_openai(
    choice: Any, offered: str, said: Any
) -> None:
    body = openai_body(tools=TOOLS, tool_choice=choice)

    assert body["tools"] == [openai_tool(name) for name in offered]
    assert body["tool_choice"] == said


@pytest.mark.parametrize(
    ("choice", "offered", "said"),
    [
        (allowed("required", "b", "c"), ["b", "c"], {"type": "any"}),
        (allowed("auto", "b"), ["b"], {"type": "auto"}),
        (allowed("required", "b"), ["a", "b", "c"], {"type": "tool", "name": "b"}),
    ],
)
def test_a_tool_that_is_not_allowed_cannot_be_called_at_anthropic(
    choice: Any, offered: list[str], said: Any
) -> None:
    body = anthropic_body(tools=TOOLS, tool_choice=choice)

    assert [tool["name"] for tool in body["tools"]] == offered
    assert body["tool_choice"] == said


@pytest.mark.parametrize(
    ("schema", "said", "sent"),
    [
        (CLOSED, {}, True),
        (CLOSED, {"strict": None}, True),
        (CLOSED, {"strict": False}, False),
        ({"type": "object"}, {}, None),
        ({"type": "object"}, {"strict": True}, True),
    ],
)
def test_a_tool_binds_at_openai_where_it_can_as_responses_have_it(
    schema: Any, said: Any, *, sent: bool | None
) -> None:
    tool = {"type": "function", "name": "f", "parameters": schema, **said}

    assert openai_body(tools=[tool])["tools"][0]["function"].get("strict") is sent
    assert anthropic_body(tools=[tool])["tools"][0].get("strict") is said.get("strict")


def test_a_picture_keeps_its_detail_at_openai() -> None:
    image = {"type": "input_image", "image_url": PNG}
    asked = [{"role": "user", "content": [{**image, "detail": "low"}, image]}]

    assert openai_body(asked)["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PNG}},
    ]


def test_what_a_function_has_shown_goes_along() -> None:
    shown = [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": PNG},
        {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
    ]
    asked = [CALL, {"type": "function_call_output", "call_id": "call_1", "output": shown}]

    assert openai_body(asked)["messages"][1:] == [
        {"role": "tool", "tool_call_id": "call_1", "content": "See:"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": PNG}},
                {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            ],
        },
    ]
    png = {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    assert anthropic_body(asked)["messages"][1:] == [
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": [
                        {"type": "text", "text": "See:"},
                        {"type": "image", "source": png},
                        {"type": "document", "source": pdf, "title": "a.pdf"},
                    ],
                }
            ],
        }
    ]


def test_everything_that_messages_have_goes_to_anthropic() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}

    body = anthropic_body(
        instructions="Be brief.",
        max_output_tokens=50,
        temperature=0.5,
        tools=[{**TOOLS[0], "strict": True}],
        parallel_tool_calls=False,
        text={"format": form},
        reasoning={"effort": "minimal", "summary": "auto"},
        safety_identifier="s",
        prompt_cache_key="k",
        store=True,
        metadata={"a": "b"},
        service_tier="flex",
    )

    assert body == {
        "model": "up-1",
        "max_tokens": 50,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "temperature": 0.5,
        "metadata": {"user_id": "s"},
        "tools": [{"name": "a", "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "output_config": {
            "effort": "low",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        },
        "stream": True,
    }


@pytest.mark.parametrize(
    ("sent", "fields", "upstream", "param"),
    [
        ("Hello", {"service_tier": "priority"}, "openai", "service_tier"),
        ("Hello", {"service_tier": "priority"}, "anthropic", "service_tier"),
        ("Hello", {"text": {"verbosity": "low"}}, "anthropic", "text.verbosity"),
    ],
)
def test_what_cannot_be_said_is_refused_by_the_callers_field(
    sent: Any, fields: Any, upstream: str, param: str
) -> None:
    with pytest.raises(NotCarriedError) as caught:
        say_extras(ask(sent, **fields), upstream)

    assert (caught.value.param, caught.value.code) == (param, "unsupported_value")


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ("", "input"),
        ([{"role": "user", "content": ""}, {"role": "user", "content": "x"}], "input[0].content"),
        ([{"role": "system", "content": ""}], "input[0].content"),
        (
            [{**CALL, "arguments": "["}, {**CALL, "type": "function_call_output", "output": ""}],
            "input[0].arguments",
        ),
    ],
)
def test_what_anthropic_refuses_is_named_by_its_place_in_the_input(sent: Any, param: str) -> None:
    with pytest.raises(NotCarriedError) as caught:
        anthropic_body(sent)

    assert caught.value.param == param


def test_odds_asked_for_by_inclusion_are_refused() -> None:
    assert ask(include=["reasoning.encrypted_content"])
    with pytest.raises(Exception, match="log probabilities") as caught:
        ask(include=["x", "message.output_text.logprobs"])
    assert getattr(caught.value, "param", None) == "include[1]"

"""What a response may be asked of, in neutral words, and what is refused by its field."""

from typing import Any

import orjson
import pytest

from gateway.chat import FormatKind, Media, Message, Thought, ToolCall, ToolMode
from gateway.dialects.openai.outgoing import render_request
from kernel.errors import BadRequestError
from tests.gateway.responses.asking import MAX_OUTPUT, TOOL, ask

MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_value"
PNG = "data:image/png;base64,iVBORw=="
PDF = "data:application/pdf;base64,JVBERg=="
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "snow"}


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def test_a_text_is_what_the_user_says_after_the_instructions() -> None:
    request = ask("Hi", instructions="Be brief.")

    assert request.messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert (request.dialect, request.max_tokens, request.stream) == ("responses", MAX_OUTPUT, False)


def test_messages_keep_roles_parts_and_order() -> None:
    request = ask(
        [
            {"role": "developer", "content": "Be brief."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look"},
                    {"type": "input_image", "image_url": PNG, "detail": "low"},
                    {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
                ],
            },
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Nice.", "annotations": []}],
            },
            {"role": "user", "content": "And?"},
        ]
    )
    image, pdf = Media("image", PNG, "low"), Media("document", PDF, name="a.pdf")

    assert request.messages == (
        Message("developer", "Be brief."),
        Message("user", "Look", media=(image, pdf), parts=("Look", image, pdf)),
        Message("assistant", "Nice."),
        Message("user", "And?"),
    )


def thought(*texts: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}


def test_thoughts_belong_to_what_is_said_beside_them_and_stand_for_nothing_alone() -> None:
    request = ask(
        [
            {"role": "user", "content": "Go"},
            thought("Hm", ", yes."),
            {"role": "assistant", "content": "Let me see."},
            thought("And now?"),
            CALL,
            OUTPUT,
            thought("So."),
            {"role": "user", "content": "Well?"},
            thought("Left over."),
        ]
    )

    assert request.messages == (
        Message("user", "Go"),
        Message(
            "assistant",
            "Let me see.",
            tool_calls=(ToolCall("call_1", "f", "{}"),),
            thoughts=(Thought("Hm, yes."), Thought("And now?")),
        ),
        Message("tool", "snow", tool_call_id="call_1"),
        Message("user", "Well?"),
    )


@pytest.mark.parametrize(
    "content", [None, [], "hm", [1], [{"type": "reasoning_text"}], [{"text": {"a": 1}}]]
)
def test_what_is_no_thought_is_ignored(content: Any) -> None:
    request = ask(
        [{"role": "user", "content": "Go"}, {**thought(), "content": content}, CALL, OUTPUT]
    )

    assert all(not message.thoughts for message in request.messages)


def test_calls_belong_to_the_turn_they_stand_beside_and_outputs_answer_them() -> None:
    other = {**CALL, "call_id": "call_2"}
    request = ask(
        [
            {"role": "user", "content": "Go"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"role": "assistant", "content": "Let me see."},
            CALL,
            other,
            {**OUTPUT, "call_id": "call_2"},
            {**OUTPUT, "output": [{"type": "input_text", "text": "sun"}]},
        ]
    )

    assert request.messages == (
        Message("user", "Go"),
        Message(
            "assistant",
            "Let me see.",
            tool_calls=(ToolCall("call_1", "f", "{}"), ToolCall("call_2", "f", "{}")),
        ),
        Message("tool", "snow", tool_call_id="call_2"),
        Message("tool", "sun", tool_call_id="call_1"),
    )


def test_tools_are_flat_and_so_is_the_choice_among_them() -> None:
    other = {**TOOL, "name": "f"}

    assert [tool.name for tool in ask(tools=[TOOL, other]).tools] == ["get_weather", "f"]
    assert ask(tools=[TOOL]).tool_mode is ToolMode.AUTO
    assert ask(tools=[], tool_choice="auto").tool_mode is ToolMode.NONE
    assert ask(tools=[TOOL], tool_choice="required").tool_mode is ToolMode.REQUIRED
    named = ask(tools=[TOOL, other], tool_choice={"type": "function", "name": "f"})
    assert ([tool.name for tool in named.tools], named.tool_mode) == (["f"], ToolMode.REQUIRED)
    allowed = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "f"}],
    }
    few = ask(tools=[TOOL, other], tool_choice=allowed)
    assert ([tool.name for tool in few.tools], few.tool_mode) == (["f"], ToolMode.AUTO)


def test_the_form_of_the_text_is_json_where_it_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "s", "schema": schema, "strict": True}

    assert ask(text={"format": {"type": "text"}}).response_format.kind is FormatKind.TEXT
    assert ask(text={"format": form}).response_format.schema == schema
    free = ask(text={"format": {"type": "json_object"}})
    assert free.response_format.kind is FormatKind.JSON_OBJECT
    sent = orjson.loads(render_request(free, "up-1", 5))
    assert sent["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        (None, MISSING, "input"),
        (1, TYPE, "input"),
        ({}, TYPE, "input"),
        ([], "empty_array", "input"),
        ([{"type": "reasoning"}], "empty_array", "input"),
        ([1], TYPE, "input[0]"),
        ([{"type": 1}], TYPE, "input[0].type"),
        ([{"type": "item_reference", "id": "x"}], UNSUPPORTED, "input[0].type"),
        ([{"type": "", "role": "user", "content": "x"}], UNSUPPORTED, "input[0].type"),
        ([{"content": "x"}], MISSING, "input[0].role"),
        ([{"role": "tool", "content": "x"}], VALUE, "input[0].role"),
        ([{"role": "user"}], MISSING, "input[0].content"),
        ([{"role": "user", "content": 1}], TYPE, "input[0].content"),
        (user(), "empty_array", "input[0].content"),
        (user(1), TYPE, "input[0].content[0]"),
        (user({"text": "x"}), MISSING, "input[0].content[0].type"),
        (user({"type": "text", "text": "x"}), VALUE, "input[0].content[0].type"),
        (user({"type": "input_text"}), MISSING, "input[0].content[0].text"),
        (user({"type": "input_image"}), MISSING, "input[0].content[0].image_url"),
        (
            user({"type": "input_image", "image_url": "http://127.0.0.1/a.png"}),
            "invalid_image_url",
            "input[0].content[0].image_url",
        ),
        (
            user({"type": "input_image", "file_id": "file-1"}),
            UNSUPPORTED,
            "input[0].content[0].file_id",
        ),
        (user({"type": "input_file"}), MISSING, "input[0].content[0].file_data"),
        (
            user({"type": "input_file", "file_id": "file-1"}),
            UNSUPPORTED,
            "input[0].content[0].file_id",
        ),
        (
            user({"type": "input_file", "file_url": "https://a.example/a.pdf"}),
            UNSUPPORTED,
            "input[0].content[0].file_url",
        ),
        ([{**CALL, "arguments": {}}], TYPE, "input[0].arguments"),
        ([CALL], VALUE, "input"),
        ([CALL, {"role": "user", "content": "x"}, OUTPUT], VALUE, "input[1]"),
        ([OUTPUT], VALUE, "input[0].call_id"),
        ([CALL, OUTPUT, OUTPUT], VALUE, "input[2].call_id"),
        ([CALL, {**OUTPUT, "output": None}], MISSING, "input[1].output"),
    ],
)
def test_a_wrong_input_is_refused_with_its_path(sent: Any, code: str, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        ask(sent)

    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": ""}, MISSING, "model"),
        ({"instructions": 1}, TYPE, "instructions"),
        ({"max_output_tokens": 0}, "integer_below_min_value", "max_output_tokens"),
        ({"max_output_tokens": 4_097}, "integer_above_max_value", "max_output_tokens"),
        ({"max_output_tokens": 10**18}, "integer_above_max_value", "max_output_tokens"),
        ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ({"top_p": -1}, "decimal_below_min_value", "top_p"),
        ({"stream": "yes"}, TYPE, "stream"),
        ({"store": 1}, TYPE, "store"),
        ({"metadata": {"a": 1}}, TYPE, "metadata.a"),
        ({"previous_response_id": "resp_1"}, UNSUPPORTED, "previous_response_id"),
        ({"conversation": "conv_1"}, UNSUPPORTED, "conversation"),
        ({"background": True}, UNSUPPORTED, "background"),
        ({"prompt": {"id": "p"}}, UNSUPPORTED, "prompt"),
        ({"top_logprobs": 1}, UNSUPPORTED, "top_logprobs"),
        ({"reasoning": {"effort": "huge"}}, VALUE, "reasoning.effort"),
        ({"text": 1}, TYPE, "text"),
        ({"text": {"format": 1}}, TYPE, "text.format"),
        ({"text": {"format": {}}}, MISSING, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, MISSING, "text.format.name"),
        ({"tools": {}}, TYPE, "tools"),
        ({"tools": [{"type": "web_search"}]}, UNSUPPORTED, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, MISSING, "tools[0].name"),
        ({"tools": [{**TOOL, "parameters": {"type": 1}}]}, VALUE, "tools[0].parameters"),
        ({"tool_choice": "required"}, VALUE, "tool_choice"),
        ({"tool_choice": 1}, TYPE, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}}, VALUE, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, UNSUPPORTED, "tool_choice.type"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
            "empty_array",
            "tool_choice.tools",
        ),
    ],
)
def test_every_other_wrong_field_is_named(fields: Any, code: str, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        ask(**fields)

    assert (caught.value.code, caught.value.param) == (code, param)


def test_nothing_is_stored_and_the_refusal_says_so() -> None:
    with pytest.raises(BadRequestError, match="stores no responses"):
        ask(previous_response_id="resp_1")
    assert ask(previous_response_id=None, background=False, store=True, top_logprobs=0)


def test_an_input_beyond_the_context_is_refused_and_one_near_it_has_less_room() -> None:
    with pytest.raises(BadRequestError) as caught:
        ask("a " * 200, context_tokens=100)

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
    assert ask("Hello", context_tokens=100).max_tokens == 100 - (3 + 4 + 1)

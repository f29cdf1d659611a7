"""Functions as they were before tools: checked, called and answered in their old form."""

from typing import Any

import orjson
import pytest

from billing.usage import Evidence, Usage
from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    ToolCallDelta,
    ToolCallStarted,
    ToolMode,
)
from gateway.dialects.openai import DIALECT
from gateway.dialects.receipts import Receipt
from gateway.providers.simulator import plan
from kernel.money import Nanos
from tests.gateway.dialects.asking import WEATHER, ask, refusal_of

MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
FUNCTION = WEATHER["function"]
ANSWER = Answer("chatcmpl-1", "hacxgpt", 1710000000, "fp_1")
RECEIPT = Receipt(Usage(input=5, output=4, request=1), Nanos(13_000), Evidence.PROVIDER)
CALL: list[StreamEvent] = [
    ToolCallStarted(0, 0, "call_a", "get_weather", 3),
    ToolCallDelta(0, 0, '{"location":', 1),
    ToolCallDelta(0, 0, '"Oslo"}', 1),
    ChoiceFinished(0, StopReason.TOOL_CALLS),
]


def asked(text: str = "What is the weather in Oslo and Rome?", **more: Any) -> ChatRequest:
    return ask(text, functions=[FUNCTION], **more)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"functions": "x"}, TYPE, "functions"),
        ({"functions": [1]}, TYPE, "functions[0]"),
        ({"functions": [{}]}, MISSING, "functions[0].name"),
        ({"functions": [{"name": "a b"}]}, VALUE, "functions[0].name"),
        ({"functions": [{"name": "f", "description": 1}]}, TYPE, "functions[0].description"),
        ({"functions": [{"name": "f", "parameters": 1}]}, TYPE, "functions[0].parameters"),
        (
            {"functions": [{"name": "f", "parameters": {"type": "string"}}]},
            VALUE,
            "functions[0].parameters",
        ),
        ({"functions": [FUNCTION] * 129}, "array_above_max_length", "functions"),
        ({"functions": [FUNCTION], "tools": [WEATHER]}, VALUE, "functions"),
        ({"functions": [FUNCTION], "tool_choice": "auto"}, VALUE, "functions"),
        ({"functions": [FUNCTION], "function_call": "required"}, VALUE, "function_call"),
        ({"functions": [FUNCTION], "function_call": 1}, TYPE, "function_call"),
        ({"functions": [FUNCTION], "function_call": {}}, MISSING, "function_call.name"),
        ({"functions": [FUNCTION], "function_call": {"name": "g"}}, VALUE, "function_call"),
        ({"function_call": {"name": "g"}}, VALUE, "function_call"),
        ({"functions": [], "function_call": "x"}, VALUE, "function_call"),
    ],
)
def test_a_wrong_function_is_refused_with_its_path(fields: Any, code: str, param: str) -> None:
    assert refusal_of(**fields) == (code, param)


def test_functions_are_tools_of_which_one_is_called_at_a_time() -> None:
    request = asked()

    assert [tool.name for tool in request.tools] == ["get_weather"]
    assert (request.tool_mode, request.parallel_tool_calls) == (ToolMode.AUTO, False)
    assert request.defined_tools == ask(tools=[WEATHER]).defined_tools
    assert asked(function_call="none").tool_mode is ToolMode.NONE
    assert asked(function_call={"name": "get_weather"}).tool_mode is ToolMode.REQUIRED
    assert ask(functions=[], function_call="auto").tools == ()


def test_the_simulator_calls_one_function_where_it_would_call_two_tools() -> None:
    tools = ask("What is the weather in Oslo and Rome?", tools=[WEATHER])

    assert len(plan(tools).choices[0].calls) == 2
    assert len(plan(asked()).choices[0].calls) == 1
    assert plan(asked(function_call="none")).choices[0].calls == ()


def test_after_the_functions_result_the_answer_is_text() -> None:
    history = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": "{}"},
        },
        {"role": "function", "name": "get_weather", "content": "snow"},
    ]
    choice = plan(asked(messages=history)).choices[0]

    assert "".join(choice.pieces) == "Here is what I found: snow"
    assert choice.reason is StopReason.END


def test_a_whole_answer_with_a_function_call_is_this_byte_by_byte() -> None:
    body = DIALECT.render_answer(asked(), ANSWER, CALL, RECEIPT).decode()

    assert body.partition(',"usage"')[0] == (
        '{"id":"chatcmpl-1","object":"chat.completion","created":1710000000,"model":"hacxgpt",'
        '"system_fingerprint":"fp_1","choices":[{"index":0,"message":{"role":"assistant",'
        '"content":null,"refusal":null,"function_call":{"name":"get_weather",'
        '"arguments":"{\\"location\\":\\"Oslo\\"}"}},"logprobs":null,'
        '"finish_reason":"function_call"}]'
    )


def test_a_streamed_function_call_is_this_byte_by_byte() -> None:
    stream = DIALECT.open_stream(asked(stream=True), ANSWER)
    text = (stream.render(CALL) + stream.finish(RECEIPT)).decode()
    head = (
        'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1710000000,'
        '"model":"hacxgpt","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{'
    )
    tail = '},"logprobs":null,"finish_reason":null}]}\n\n'

    assert text == (
        head
        + '"role":"assistant","content":null'
        + tail
        + head
        + '"function_call":{"name":"get_weather","arguments":""}'
        + tail
        + head
        + '"function_call":{"arguments":"{\\"location\\":"}'
        + tail
        + head
        + '"function_call":{"arguments":"\\"Oslo\\"}"}'
        + tail
        + head
        + '},"logprobs":null,"finish_reason":"function_call"}]}\n\n'
        + "data: [DONE]\n\n"
    )


def test_tools_are_answered_as_tools_still() -> None:
    body = orjson.loads(DIALECT.render_answer(ask(tools=[WEATHER]), ANSWER, CALL, RECEIPT))

    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert "function_call" not in body["choices"][0]["message"]

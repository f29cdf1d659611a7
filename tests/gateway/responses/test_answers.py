"""Answers event by event: a whole one, streams, one that is cut, one that breaks."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from billing.usage import Evidence, Usage
from gateway.chat import (
    Answer,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.anthropic.outgoing import render_request
from gateway.dialects.receipts import Receipt
from gateway.dialects.responses import DIALECT
from kernel.errors import NotCarriedError, UpstreamError
from kernel.money import Nanos
from tests.gateway.responses.asking import TOOL, ask

ANSWER = Answer("resp_1a", "hacxgpt", 1710000000, "fp_1")
USAGE = Usage(input=7, cached_input=3, cache_write=2, output=6, reasoning=2, request=1)
RECEIPT = Receipt(USAGE, Nanos(21_500), Evidence.PROVIDER)
HELLO: Sequence[StreamEvent] = (
    TextDelta(0, "Hel", 1),
    TextDelta(0, 'lo "é"', 1),
    ChoiceFinished(0, StopReason.END),
)
CALLS: Sequence[StreamEvent] = (
    ThinkingDelta(0, "hm", 1),
    ToolCallStarted(0, 0, "call_a", "get_weather", 3),
    ToolCallDelta(0, 0, '{"location":', 1),
    ToolCallDelta(0, 0, '"Oslo"}', 1),
    ToolCallStarted(0, 1, "call_b", "f", 1),
    ToolCallDelta(0, 1, "{}", 1),
    ChoiceFinished(0, StopReason.TOOL_CALLS),
)
ECHO = (
    '"instructions":null,"max_output_tokens":null,"model":"hacxgpt","output":%s,'
    '"parallel_tool_calls":true,"previous_response_id":null,'
    '"reasoning":{"effort":null,"summary":null},"store":false,"temperature":1.0,'
    '"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,'
    '"truncation":"disabled","usage":%s,"user":null,"metadata":{}}'
)
HEAD = '{"id":"resp_1a","object":"response","created_at":1710000000,"status":"%s",'
FIGURES = (
    '{"input_tokens":12,"input_tokens_details":{"cached_tokens":3,"cache_write_tokens":2},'
    '"output_tokens":8,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":20,'
    '"cost":0.0000215,"x_tollgate":{"evidence":"provider"}}'
)
PART = '{"type":"output_text","text":"%s","annotations":[],"logprobs":[]}'
TEXT = 'Hello \\"é\\"'.replace("Hello", "Hello")
MESSAGE = '{"id":"msg_1a0","type":"message","status":"%s","role":"assistant","content":[%s]}'
RESPONSE = (
    HEAD % "completed"
    + '"error":null,"incomplete_details":null,'
    + ECHO % ("[" + MESSAGE % ("completed", PART % TEXT) + "]", FIGURES)
)
BEGUN = HEAD % "in_progress" + '"error":null,"incomplete_details":null,' + ECHO % ("[]", "null")


def streamed(events: Sequence[StreamEvent], **fields: Any) -> str:
    stream = DIALECT.open_stream(ask(stream=True, **fields), ANSWER)
    frames = b"".join(stream.render([event]) for event in events)
    return (frames + stream.finish(RECEIPT)).decode()


def parsed(text: str) -> list[Any]:
    """Return the events of a stream, whose names and numbers are right."""
    found = []
    for number, frame in enumerate(text.removesuffix("\n\n").split("\n\n")):
        name, _, data = frame.partition("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        found.append(event)
    return found


def whole(events: Sequence[StreamEvent], **fields: Any) -> Any:
    return orjson.loads(DIALECT.render_answer(ask(**fields), ANSWER, events, RECEIPT))


def test_a_whole_answer_is_this_byte_by_byte() -> None:
    assert DIALECT.render_answer(ask(), ANSWER, HELLO, RECEIPT).decode() == RESPONSE


def test_a_stream_is_this_byte_by_byte() -> None:
    at = '"item_id":"msg_1a0","output_index":0,"content_index":0'
    expected = [
        ("response.created", f'"response":{BEGUN}'),
        ("response.in_progress", f'"response":{BEGUN}'),
        (
            "response.output_item.added",
            '"output_index":0,"item":' + MESSAGE % ("in_progress", ""),
        ),
        ("response.content_part.added", at + ',"part":' + PART % ""),
        ("response.output_text.delta", at + ',"delta":"Hel","logprobs":[]'),
        ("response.output_text.delta", at + ',"delta":"lo \\"é\\"","logprobs":[]'),
        ("response.output_text.done", at + f',"text":"{TEXT}","logprobs":[]'),
        ("response.content_part.done", at + ',"part":' + PART % TEXT),
        (
            "response.output_item.done",
            '"output_index":0,"item":' + MESSAGE % ("completed", PART % TEXT),
        ),
        ("response.completed", f'"response":{RESPONSE}'),
    ]

    assert streamed(HELLO) == "".join(
        f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":{number},{rest}}}\n\n'
        for number, (kind, rest) in enumerate(expected)
    )


def test_thinking_and_calls_are_outputs_of_their_own_in_order() -> None:
    events = parsed(streamed(CALLS, tools=[TOOL]))
    call = {"type": "function_call", "name": "get_weather", "call_id": "call_a"}

    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[8]["item"] == {**call, "id": "fc_1a1", "status": "in_progress", "arguments": ""}
    assert events[11]["arguments"] == '{"location":"Oslo"}'
    assert events[12]["item"] == {
        **call,
        "id": "fc_1a1",
        "status": "completed",
        "arguments": '{"location":"Oslo"}',
    }
    assert [event["output_index"] for event in events[2:-1]] == [0] * 6 + [1] * 5 + [2] * 4
    assert events[-1]["response"] == whole(CALLS, tools=[TOOL])
    assert events[-1]["response"]["output"][0] == {
        "id": "rs_1a0",
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }


@pytest.mark.parametrize(
    ("reason", "said"),
    [(StopReason.LENGTH, "max_output_tokens"), (StopReason.CONTENT_FILTER, "content_filter")],
)
def test_an_answer_that_is_cut_is_incomplete(reason: StopReason, said: str) -> None:
    events = (TextDelta(0, "Hel", 1), ChoiceFinished(0, reason))
    body, last = whole(events), parsed(streamed(events))[-1]

    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": said})
    assert body["output"][0]["status"] == "incomplete"
    assert (last["type"], last["response"]) == ("response.incomplete", body)


def test_an_answer_that_no_money_is_left_for_ends_cleanly_and_says_so() -> None:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)
    text = stream.render(HELLO[:1]) + stream.cut_off() + stream.finish(RECEIPT)
    last = parsed(text.decode())[-1]

    assert last["type"] == "response.incomplete"
    assert last["response"]["x_tollgate"] == {"code": "budget_exhausted"}


def test_a_stream_that_breaks_has_failed_and_numbers_go_on() -> None:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)
    text = stream.render(HELLO[:1]) + stream.fail(UpstreamError("It broke off."))
    *_, said, last = parsed(text.decode())

    assert {**said, "sequence_number": 0} == {
        "type": "error",
        "sequence_number": 0,
        "code": "server_error",
        "message": "It broke off.",
        "param": None,
    }
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "It broke off."}
    assert last["response"]["output"][0]["content"][0]["text"] == "Hel"
    assert last["response"]["usage"] is None


def test_a_stream_that_breaks_before_its_first_word_is_one_all_the_same() -> None:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)

    kinds = [event["type"] for event in parsed(stream.fail(UpstreamError("No.")).decode())]

    assert kinds == ["response.created", "response.in_progress", "error", "response.failed"]


def test_an_answer_without_a_word_has_no_output() -> None:
    assert whole([ChoiceFinished(0, StopReason.END)])["output"] == []


def test_what_was_asked_is_said_again() -> None:
    form = {"type": "json_schema", "name": "s", "schema": {"type": "object"}}
    body = whole(
        HELLO,
        instructions="Be brief.",
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.1,
        tools=[TOOL],
        tool_choice="none",
        parallel_tool_calls=False,
        metadata={"a": "b"},
        text={"format": form},
        reasoning={"effort": "low"},
        store=True,
    )

    assert body["text"] == {"format": form}
    assert (body["instructions"], body["max_output_tokens"]) == ("Be brief.", 9)
    assert (body["temperature"], body["top_p"], body["store"]) == (0.5, 0.1, False)
    assert (body["tools"], body["tool_choice"]) == ([TOOL], "none")
    assert (body["parallel_tool_calls"], body["metadata"]) == (False, {"a": "b"})
    assert body["reasoning"] == {"effort": "low"}


def test_what_a_provider_cannot_take_is_named_by_this_wires_field() -> None:
    request = ask([{"role": "user", "content": ""}, {"role": "user", "content": "Hello"}])

    with pytest.raises(NotCarriedError) as caught:
        render_request(request, "up-1", 5)

    assert orjson.loads(DIALECT.render_error(caught.value, "req_1"))["error"] == {
        "message": "An empty message cannot be sent to this model.",
        "type": "invalid_request_error",
        "param": "input[0].content",
        "code": "unsupported_value",
    }

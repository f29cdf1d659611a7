"""What servers of both dialects do, and what they must not: understood, or their fault."""

from typing import Any

import orjson
import pytest

from billing.usage import Usage
from gateway.chat import (
    ChoiceFinished,
    StopReason,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from gateway.dialects.anthropic.incoming import EventReader as AnthropicReader
from gateway.dialects.openai.incoming import EventReader as OpenAIReader
from gateway.providers.translated import Reader
from kernel.errors import TollgateError, UnavailableError, UpstreamError
from tests.gateway.translation.transcripts import (
    DONE,
    anthropic_block,
    anthropic_end,
    anthropic_frame,
    anthropic_start,
    openai_call,
    openai_frame,
    read_parts,
)


def fault_of(reader: Reader, *parts: bytes) -> TollgateError | None:
    read_parts(reader, parts)
    return reader.fault


@pytest.mark.parametrize(
    "frames",
    [
        b'data: {"error":{"message":"secret"}}\n\n',
        b"data: [1]\n\n",
        b"data: {\n\n",
        openai_frame({"content": 5}),
        openai_frame({"tool_calls": {"a": 1}}),
        openai_frame({"tool_calls": [5]}),
        openai_call(0, function={"arguments": "{}"}),
        openai_call(0, id="a", function={"name": "f", "arguments": "{"})
        + openai_frame({}, "tool_calls"),
        openai_call(0, id="a", function={"name": "f", "arguments": "{}"})
        + openai_call(1, id="b", function={"name": "f"})
        + openai_call(0, function={"arguments": "{}"}),
        DONE,
        b"data: " + b"x" * (4 * 2**20),
    ],
)
def test_what_an_openai_server_must_not_send_is_its_fault(frames: bytes) -> None:
    fault = fault_of(OpenAIReader(), openai_frame({"role": "assistant"}), frames)

    assert isinstance(fault, UpstreamError)
    assert "secret" not in fault.message


def test_the_habits_of_openai_servers_are_understood() -> None:
    named_again = openai_call(0, id="a", function={"name": "f", "arguments": '{"x":'})
    named_again += openai_call(0, id="a", function={"name": "f", "arguments": "1}"})

    events = read_parts(OpenAIReader(), [named_again + openai_frame({}, "stop") + DONE])

    assert [type(event).__name__ for event in events] == [
        "ToolCallStarted",
        "ToolCallDelta",
        "ToolCallDelta",
        "ChoiceFinished",
    ]
    assert events[-1] == ChoiceFinished(0, StopReason.TOOL_CALLS)


def test_parts_of_content_are_read_each_as_what_it_is() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "x"}]}
    parts = [
        {"type": "thinking", "thinking": "So"},
        thinking,
        {"type": "text", "text": "Yes"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": ""},
    ]

    events = read_parts(OpenAIReader(), [openai_frame({"content": parts}, "stop") + DONE])

    assert events == [
        ThinkingDelta(0, "So", 1),
        ThinkingDelta(0, "Hm", 1),
        TextDelta(0, "Yes", 1),
        ChoiceFinished(0, StopReason.END),
    ]


@pytest.mark.parametrize(
    "content",
    [
        5,
        {"text": "secret"},
        ["secret"],
        [{"type": "text"}, 5],
        [{"type": "text", "text": 5}],
        [{"type": "text", "text": ["secret"]}],
        [{"type": "thinking", "thinking": 5}],
        [{"type": "thinking", "thinking": ["secret"]}],
    ],
)
def test_content_of_another_form_is_a_fault(content: Any) -> None:
    fault = fault_of(OpenAIReader(), openai_frame({"content": content}), DONE)

    assert isinstance(fault, UpstreamError)
    assert "secret" not in fault.message


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", StopReason.END),
        ("length", StopReason.LENGTH),
        ("content_filter", StopReason.CONTENT_FILTER),
        ("something_new", StopReason.END),
    ],
)
def test_each_finish_reason_is_understood(word: str, reason: StopReason) -> None:
    stream = openai_frame({"role": "assistant", "content": "a"}) + openai_frame({}, word) + DONE

    assert read_parts(OpenAIReader(), [stream])[-1] == ChoiceFinished(0, reason)


@pytest.mark.parametrize("word", ["tool_calls", "function_call", "stop"])
def test_an_answer_with_calls_ends_with_them_whatever_is_said(word: str) -> None:
    call = openai_call(0, id="a", function={"name": "f", "arguments": "{}"})

    events = read_parts(OpenAIReader(), [call + openai_frame({}, word) + DONE])

    assert events[-1] == ChoiceFinished(0, StopReason.TOOL_CALLS)


def test_an_empty_reason_is_none() -> None:
    stream = openai_frame({"content": "a"}, "") + openai_frame({"content": "b"}, "length")

    events = read_parts(OpenAIReader(), [stream + DONE])

    assert events == [
        TextDelta(0, "a", 1),
        TextDelta(0, "b", 1),
        ChoiceFinished(0, StopReason.LENGTH),
    ]


def test_a_server_that_names_the_stop_sequence_is_believed_if_it_was_asked_for() -> None:
    body = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}
    frame = b"data: " + orjson.dumps({"choices": [body]}) + b"\n\n"

    assert read_parts(OpenAIReader(["END"]), [frame]) == [
        ChoiceFinished(0, StopReason.STOP_SEQUENCE, "END")
    ]
    assert read_parts(OpenAIReader(["x"]), [frame]) == [ChoiceFinished(0, StopReason.END)]


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        (anthropic_frame("error", error={"type": "overloaded_error"}), UnavailableError),
        (anthropic_frame("error", error={"type": "api_error", "message": "x"}), UpstreamError),
        (anthropic_frame("content_block_stop", index=0), UpstreamError),
        (anthropic_frame("content_block_start", index=0), UpstreamError),
        (anthropic_frame("content_block_start", index=-1, content_block={}), UpstreamError),
        (
            anthropic_frame("content_block_start", index=0, content_block={"type": "text"})
            + anthropic_frame("content_block_delta", index=1, delta={"type": "text_delta"}),
            UpstreamError,
        ),
        (
            anthropic_frame("content_block_start", index=0, content_block={"type": "text"})
            + anthropic_end("end_turn"),
            UpstreamError,
        ),
        (anthropic_frame("message_stop"), UpstreamError),
        (
            anthropic_frame("message_delta", delta={"stop_reason": None})
            + anthropic_frame("message_stop"),
            UpstreamError,
        ),
        (
            anthropic_frame("message_delta", delta={"stop_reason": "end_turn"})
            + anthropic_block(0, {"type": "text", "text": ""}),
            UpstreamError,
        ),
        (
            anthropic_block(
                0,
                {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"x":'},
            )
            + anthropic_end("tool_use"),
            UpstreamError,
        ),
    ],
)
def test_what_an_anthropic_server_must_not_send_is_its_fault(
    frames: bytes, kind: type[TollgateError]
) -> None:
    assert type(fault_of(AnthropicReader(), anthropic_start(), frames)) is kind


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", StopReason.END),
        ("pause_turn", StopReason.END),
        ("max_tokens", StopReason.LENGTH),
        ("model_context_window_exceeded", StopReason.LENGTH),
        ("refusal", StopReason.CONTENT_FILTER),
        ("tool_use", StopReason.TOOL_CALLS),
        ("something_new", StopReason.END),
    ],
)
def test_each_reason_is_understood(word: str, reason: StopReason) -> None:
    stream = anthropic_start(input_tokens=1) + anthropic_end(word, output_tokens=1)

    assert read_parts(AnthropicReader(), [stream])[0] == ChoiceFinished(0, reason)


def test_figures_after_the_reason_leave_it_as_it_was() -> None:
    figures = anthropic_frame("message_delta", delta={}, usage={"output_tokens": 4})
    stop = anthropic_frame("message_stop")
    stream = anthropic_start(input_tokens=1) + anthropic_end("max_tokens", output_tokens=1)

    assert read_parts(AnthropicReader(), [stream.replace(stop, figures + stop)]) == [
        ChoiceFinished(0, StopReason.LENGTH),
        UsageReported(Usage(input=1, output=4, request=1)),
    ]


def test_what_a_providers_own_tools_do_is_left_out() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": "{}"}
    text = {"type": "text_delta", "text": "Found."}
    stream = b"".join(
        [
            anthropic_start(input_tokens=1),
            anthropic_block(0, search, piece),
            anthropic_block(1, {"type": "web_search_tool_result", "content": []}),
            anthropic_block(2, {"type": "text", "text": ""}, text),
            anthropic_end("end_turn", output_tokens=2),
        ]
    )

    assert read_parts(AnthropicReader(), [stream])[0] == TextDelta(0, "Found.", 2)

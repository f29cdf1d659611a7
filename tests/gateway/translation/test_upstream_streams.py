"""Upstream streams as events: the same however the bytes are cut, and never half a JSON."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.pricing import Price
from billing.usage import Evidence, Usage
from gateway.chat import (
    Answer,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from gateway.dialects import anthropic, openai
from gateway.dialects.anthropic.incoming import EventReader as AnthropicReader
from gateway.dialects.anthropic.passthrough import PassThroughStream
from gateway.dialects.openai.incoming import EventReader as OpenAIReader
from gateway.dialects.receipts import Receipt
from gateway.providers.stops import StopCutter, find_stop
from gateway.providers.translated import Reader
from kernel.errors import TollgateError, UnavailableError, UpstreamError
from tests.gateway.dialects import anthropic_asking, asking
from tests.gateway.translation.transcripts import (
    ANTHROPIC,
    DONE,
    EVENTS,
    OPENAI,
    SIGNED,
    anthropic_block,
    anthropic_end,
    anthropic_frame,
    anthropic_start,
    openai_call,
    openai_frame,
)

ANSWER = Answer("msg_ours", "public", 1, "fp", "req_1", 9)
RECEIPT = Receipt(
    Usage(input=1, output=1, request=1),
    Price(1, Usage(input=1_000_000)).charge(Usage(input=1)),
    Evidence.PROVIDER,
)
CUTS = st.lists(st.integers(0, 6000), max_size=12)
READERS = pytest.mark.parametrize(
    ("reader", "transcript", "events"),
    [
        (AnthropicReader, ANTHROPIC, EVENTS),
        (OpenAIReader, OPENAI, tuple(event for event in EVENTS if event is not SIGNED)),
    ],
)
Make = Callable[[], Reader]


def parts_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read(reader: Reader, parts: Sequence[bytes]) -> list[StreamEvent]:
    """Feed until the end or a fault, as an upstream's bytes are."""
    events: list[StreamEvent] = []
    for part in parts:
        events += reader.feed(part)
        if reader.fault is not None:
            break
    return events


@READERS
@given(cuts=CUTS, crlf=st.booleans())
@settings(deadline=None)
def test_a_stream_split_at_any_bytes_makes_the_same_events(
    reader: Make, transcript: bytes, events: Any, cuts: list[int], *, crlf: bool
) -> None:
    data = transcript.replace(b"\n", b"\r\n") if crlf else transcript
    reading = reader()

    assert tuple(read(reading, parts_of(data, cuts))) == events
    assert reading.is_done
    assert reading.fault is None


@READERS
@given(cuts=CUTS, place=st.integers(0, 6000), junk=st.binary(min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_mutated_stream_is_a_fault_or_passes_and_its_frames_are_whole(
    reader: Make, transcript: bytes, events: Any, cuts: list[int], place: int, junk: bytes
) -> None:
    place %= len(transcript)
    mutated = transcript[:place] + junk + transcript[place + len(junk) :]
    at_once, in_parts = reader(), reader()

    said = read(at_once, [mutated])

    assert read(in_parts, parts_of(mutated, cuts)) == said
    assert (at_once.is_done, type(at_once.fault)) == (in_parts.is_done, type(in_parts.fault))
    fault = at_once.fault
    if fault is None and not at_once.is_done:
        fault = UpstreamError("It broke off.")
    for frames in (as_anthropic(said, fault), as_openai(said, fault)):
        check_frames(frames, fault)


def as_anthropic(said: Sequence[StreamEvent], fault: TollgateError | None) -> bytes:
    stream = anthropic.DIALECT.open_stream(anthropic_asking.ask(stream=True), ANSWER)
    return stream.render(said) + (stream.fail(fault) if fault else stream.finish(RECEIPT))


def as_openai(said: Sequence[StreamEvent], fault: TollgateError | None) -> bytes:
    stream = openai.DIALECT.open_stream(asking.ask(stream=True), ANSWER)
    return stream.render(said) + (stream.fail(fault) if fault else stream.finish(RECEIPT))


def check_frames(frames: bytes, fault: TollgateError | None) -> None:
    """Check that every frame is whole JSON, and that a fault is said last."""
    bodies = []
    for frame in frames.removesuffix(b"\n\n").split(b"\n\n"):
        data = frame.rpartition(b"\n")[2].removeprefix(b"data: ")
        if data != b"[DONE]":
            bodies.append(orjson.loads(data))
    assert bool(bodies and bodies[-1].get("error")) is (fault is not None)


def passed(parts: Sequence[bytes]) -> tuple[bytes, PassThroughStream]:
    stream = PassThroughStream(ANSWER)
    frames = b""
    try:
        for part in parts:
            frames += stream.feed(part)
    except TollgateError:
        pass
    return frames, stream


@given(cuts=CUTS, crlf=st.booleans())
@settings(deadline=None)
def test_a_stream_of_the_same_dialect_passes_as_it_came(cuts: list[int], *, crlf: bool) -> None:
    data = ANTHROPIC.replace(b"\n", b"\r\n") if crlf else ANTHROPIC

    frames, stream = passed(parts_of(data, cuts))

    first = anthropic_start(input_tokens=7, cache_read_input_tokens=2, output_tokens=1)
    ours = first.replace(b"msg_upstream", b"msg_ours").replace(b"up-1", b"public")
    kept_back = ANTHROPIC.index(b"event: message_delta")
    expected = ANTHROPIC[len(first) : kept_back].replace(b": keep-alive\n\n", b"")
    assert frames == ours + expected
    assert stream.is_done
    assert stream.usage == Usage(input=7, cached_input=2, output=14, reasoning=6, request=1)
    assert stream.finish(RECEIPT).endswith(b'{"type":"message_stop"}\n\n')


@given(cuts=CUTS, place=st.integers(0, 6000), junk=st.binary(min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_frame_that_is_no_json_passes(cuts: list[int], place: int, junk: bytes) -> None:
    place %= len(ANTHROPIC)
    mutated = ANTHROPIC[:place] + junk + ANTHROPIC[place + len(junk) :]

    frames, _ = passed(parts_of(mutated, cuts))

    for frame in frames.split(b"\n\n"):
        for line in frame.split(b"\n"):
            if line.startswith(b"data:"):
                orjson.loads(line.removeprefix(b"data:"))


def test_a_cut_stream_closes_the_block_that_is_open() -> None:
    stream = PassThroughStream(ANSWER)
    frames = stream.feed(ANTHROPIC[: ANTHROPIC.index(b"event: message_delta")])

    cut = stream.cut(frames, 10)

    assert cut.cut_tokens >= 10
    last = stream.cut_off(RECEIPT)
    assert last.startswith(b"event: content_block_stop\n")
    assert b'"stop_reason":"max_tokens"' in last
    assert b'"x_tollgate":{"code":"budget_exhausted"}' in last
    everything = stream.cut(frames, 10**6)
    assert everything.frames == b""
    assert stream.cut_off(RECEIPT).startswith(b"event: message_start\n")


def fault_of(reader: Reader, *parts: bytes) -> TollgateError | None:
    read(reader, parts)
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

    events = read(OpenAIReader(), [named_again + openai_frame({}, "stop") + DONE])

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

    events = read(OpenAIReader(), [openai_frame({"content": parts}, "stop") + DONE])

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


def test_an_empty_reason_is_none() -> None:
    stream = openai_frame({"content": "a"}, "") + openai_frame({"content": "b"}, "length")

    events = read(OpenAIReader(), [stream + DONE])

    assert events == [
        TextDelta(0, "a", 1),
        TextDelta(0, "b", 1),
        ChoiceFinished(0, StopReason.LENGTH),
    ]


def test_a_server_that_names_the_stop_sequence_is_believed_if_it_was_asked_for() -> None:
    body = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}
    frame = b"data: " + orjson.dumps({"choices": [body]}) + b"\n\n"

    assert read(OpenAIReader(["END"]), [frame]) == [
        ChoiceFinished(0, StopReason.STOP_SEQUENCE, "END")
    ]
    assert read(OpenAIReader(["x"]), [frame]) == [ChoiceFinished(0, StopReason.END)]


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

    assert read(AnthropicReader(), [stream])[0] == ChoiceFinished(0, reason)


def test_figures_after_the_reason_leave_it_as_it_was() -> None:
    figures = anthropic_frame("message_delta", delta={}, usage={"output_tokens": 4})
    stop = anthropic_frame("message_stop")
    stream = anthropic_start(input_tokens=1) + anthropic_end("max_tokens", output_tokens=1)

    assert read(AnthropicReader(), [stream.replace(stop, figures + stop)]) == [
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

    assert read(AnthropicReader(), [stream])[0] == TextDelta(0, "Found.", 2)


TEXT = st.text(alphabet="ab\n ", max_size=40)


@given(
    st.lists(TEXT, max_size=10),
    st.lists(st.text(alphabet="ab\n ", min_size=1, max_size=4), min_size=1, max_size=5),
)
@settings(deadline=None)
def test_stop_sequences_cut_at_the_same_place_however_the_text_comes(
    pieces: list[str], stops: list[str]
) -> None:
    cutter = StopCutter(stops)
    events = []
    for piece in pieces:
        events += cutter.feed([TextDelta(0, piece, 1)])
    events += cutter.feed([ChoiceFinished(0, StopReason.END)])

    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    found = first_complete("".join(pieces), stops)
    assert cutter.is_cut is (found is not None)
    assert text == ("".join(pieces) if found is None else "".join(pieces)[:found])
    assert isinstance(events[-1], ChoiceFinished)


def first_complete(text: str, stops: Sequence[str]) -> int | None:
    found = find_stop(text, stops)
    return None if found is None else found.start

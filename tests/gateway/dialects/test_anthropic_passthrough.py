"""Anthropic to Anthropic: every frame a caller gets is whole, and named as its event."""

from typing import Any

import pytest

from billing.usage import NO_USAGE, SHRUNK, Usage
from tests.gateway.dialects.relaying import events_of, through_anthropic
from tests.gateway.translation.transcripts import (
    anthropic_end,
    anthropic_frame,
    anthropic_start,
)

START = anthropic_start(input_tokens=9, output_tokens=1)
OPEN = anthropic_frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
WORD = anthropic_frame(
    "content_block_delta", index=0, delta={"type": "text_delta", "text": " word"}
)
CLOSE = anthropic_frame("content_block_stop", index=0)
END = anthropic_end("end_turn", output_tokens=2)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def words_of(events: list[dict[str, Any]]) -> str:
    return "".join(event.get("delta", {}).get("text", "") for event in events)


FIELDS = {
    "id": b"id: 7\n" + WORD,
    "retry": b"retry: 5\n" + WORD,
    "no name": WORD.partition(b"\n")[2],
    "another name": b"event: ping\n" + WORD.partition(b"\n")[2],
    "no blanks": WORD.replace(b": ", b":", 1).replace(b"data: ", b"data:"),
    "data first": WORD.partition(b"\n")[2].removesuffix(b"\n") + b"event: x\n\n",
    "two lines": WORD.replace(b',"index"', b'\ndata: ,"index"'),
    "comment": b": secret\n\n" + WORD,
}


@pytest.mark.parametrize("frame", FIELDS.values(), ids=FIELDS)
def test_a_frame_leaves_named_as_its_event_and_without_other_fields(frame: bytes) -> None:
    got = through_anthropic([START + OPEN, frame, WORD + CLOSE, END])

    assert got.fault is None
    events = events_of(got)
    assert words_of(events) == " word word"
    assert (got.tokens, got.usage) == (2, Usage(input=9, output=2, request=1))
    assert got.frames == through_anthropic([START + OPEN + WORD + WORD + CLOSE + END]).frames


FAULTS = {
    "error": anthropic_frame("error", error={"type": "api_error", "message": "secret"}),
    "error without a name": b'data: {"type":"error","error":{"message":"secret"}}\n\n',
    "error by name alone": b'event: error\ndata: {"message":"secret"}\n\n',
    "no JSON": WORD.replace(b"}}", b""),
    "no UTF-8": WORD.replace(b" word", b"\xff\xfe"),
    "no object": b"event: ping\ndata: [1]\n\n",
    "no type": b'event: ping\ndata: {"secret":1}\n\n',
    "a type of a wrong type": b'event: ping\ndata: {"type":1}\n\n',
    "a type that is no name": b'data: {"type":"x\\nid: 1\\n"}\n\n',
    "no number": WORD.replace(b'"index":0', b'"index":-1'),
    "another block": WORD.replace(b'"index":0', b'"index":1'),
    "a block within a block": OPEN,
    "no delta": anthropic_frame("content_block_delta", index=0),
    "no block": anthropic_frame("content_block_start", index=0),
    "no end": anthropic_frame("message_delta", usage={"output_tokens": 1}),
    "another beginning": START,
}


@pytest.mark.parametrize("bad", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("together", [True, False], ids=["in one read", "frame by frame"])
def test_a_fault_in_a_stream_is_said_in_our_words_after_what_was_relayed(
    bad: bytes, *, together: bool
) -> None:
    frames = [START, OPEN, WORD, WORD, bad, WORD, CLOSE, END]

    got = through_anthropic([b"".join(frames)] if together else frames)

    assert words_of(events_of(got)) == " word word"
    assert (got.tokens, got.frames.count(b"event: error")) == (2, 1)
    assert b"secret" not in got.frames


@pytest.mark.parametrize("first", [OPEN, WORD, CLOSE, END, STOP])
def test_an_answer_without_its_beginning_is_none(first: bytes) -> None:
    got = through_anthropic([first + START + OPEN + WORD + CLOSE + END])

    assert got.fault is not None
    assert events_of(got) == []


def open_block(index: int) -> bytes:
    return OPEN.replace(b'"index":0', b'"index":%d' % index)


def close_block(index: int) -> bytes:
    return CLOSE.replace(b'"index":0', b'"index":%d' % index)


BROKEN = {
    "a block is open": START + OPEN + WORD + END,
    "no block was closed, no end said": START + OPEN + WORD + STOP,
    "no end was said": START + OPEN + WORD + CLOSE + STOP,
    "nothing was said": START + STOP,
    "no reason was said": START
    + OPEN
    + WORD
    + CLOSE
    + anthropic_frame("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 1})
    + STOP,
    "a block begins after its end": START
    + OPEN
    + WORD
    + CLOSE
    + END.replace(STOP, open_block(1) + close_block(1) + STOP),
    "a number is left out": START + OPEN + WORD + CLOSE + open_block(2) + close_block(2) + END,
    "a number is used again": START + OPEN + WORD + CLOSE + OPEN + CLOSE + END,
    "the first is not the first": START + open_block(5) + close_block(5) + END,
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("together", [True, False], ids=["in one read", "frame by frame"])
def test_an_answer_out_of_order_or_without_its_end_is_none(
    frames: bytes, *, together: bool
) -> None:
    parts = [frames] if together else [part + b"\n\n" for part in frames.split(b"\n\n")[:-1]]

    got = through_anthropic(parts)

    assert words_of(events_of(got)) == " word" * (WORD in frames)
    assert got.fault is not None
    assert got.tokens == (WORD in frames)


def test_nothing_after_the_end_reaches_the_caller_or_counts() -> None:
    late = WORD + anthropic_frame("message_delta", delta={}, usage={"output_tokens": 99})

    for parts in (
        [START + OPEN + WORD + CLOSE + END + late],
        [START, OPEN, WORD, CLOSE, END, late],
    ):
        got = through_anthropic(parts)

        assert words_of(events_of(got)) == " word"
        assert (got.tokens, got.usage) == (1, Usage(input=9, output=2, request=1))


def test_a_figure_that_is_no_number_ends_no_answer_and_stands_nowhere() -> None:
    start, end = (
        frame.replace(b'"output_tokens":2', b'"output_tokens":NaN').replace(
            b'"input_tokens":9', b'"input_tokens":NaN'
        )
        for frame in (START, END)
    )

    got = through_anthropic([start + OPEN + WORD + CLOSE + end])

    assert got.fault is None
    events = events_of(got)
    assert events[0]["message"]["usage"]["input_tokens"] == 9  # our own count
    assert (got.usage, got.tokens) == (NO_USAGE, 1)


def test_an_event_of_tomorrow_passes_and_its_json_is_on_one_line() -> None:
    tomorrow = b'event: block_of_tomorrow\ndata: {"type":"block_of_tomorrow",\ndata: "x":NaN}\n\n'

    got = through_anthropic([START + tomorrow + END])

    assert (
        b'event: block_of_tomorrow\ndata: {"type":"block_of_tomorrow","x":null}\n\n' in got.frames
    )
    assert [event["type"] for event in events_of(got)][1] == "block_of_tomorrow"


@pytest.mark.parametrize("is_said_first", [True, False])
def test_of_two_ends_the_last_one_that_says_why_is_said(*, is_said_first: bool) -> None:
    reason = "end_turn" if is_said_first else None
    first = anthropic_frame(
        "message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 1}
    )
    last = END.replace(b'"stop_reason":"end_turn"', b'"stop_reason":null') if is_said_first else END

    got = through_anthropic([START + OPEN + WORD + CLOSE + first + last])

    assert got.fault is None
    (end,) = [event for event in events_of(got) if event["type"] == "message_delta"]
    assert end["delta"]["stop_reason"] == "end_turn"
    assert (end["usage"]["output_tokens"], end["usage"]["cost"]) == (2, 0.000123)


def test_figures_that_shrink_are_none() -> None:
    start = anthropic_start(input_tokens=9, output_tokens=50)
    end = anthropic_end("end_turn", output_tokens=20)

    got = through_anthropic([start, OPEN + WORD + CLOSE, end])

    assert got.usage is SHRUNK


def test_the_prompt_may_turn_out_shorter_than_was_guessed_at_first() -> None:
    start = anthropic_start(input_tokens=90, output_tokens=1)
    end = anthropic_end("end_turn", output_tokens=20, input_tokens=8)

    got = through_anthropic([start, OPEN + WORD + CLOSE, end])

    assert got.usage == Usage(input=8, output=20, request=1)

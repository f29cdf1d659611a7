"""Calls that an OpenAI server writes in turns: each is said from its start to its end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat import (
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.openai.incoming import EventReader
from kernel.errors import UpstreamError
from tests.gateway.translation.transcripts import DONE, openai_call, openai_frame

END = openai_frame({}, "tool_calls") + DONE


def read(*frames: bytes) -> list[StreamEvent]:
    reader = EventReader()
    events = reader.feed(b"".join(frames))
    assert reader.fault is None
    return events


def began(index: int, call_id: str, name: str = "f") -> bytes:
    return openai_call(index, id=call_id, type="function", function={"name": name, "arguments": ""})


def added(index: int, arguments: str) -> bytes:
    return openai_call(index, function={"arguments": arguments})


def start(index: int, call_id: str) -> ToolCallStarted:
    return ToolCallStarted(0, index, call_id, "f", 1)


def said(events: list[StreamEvent]) -> list[Any]:
    """Return calls as their numbers at their start and their pieces, and texts."""
    found: list[Any] = []
    for event in events:
        match event:
            case ToolCallStarted(index=index, call_id=call_id):
                found.append((index, call_id))
            case ToolCallDelta(index=index, arguments=arguments):
                found.append((index, arguments))
            case TextDelta(text=text):
                found.append(text)
            case _:
                pass
    return found


def test_calls_that_are_written_in_turns_are_said_one_after_the_other() -> None:
    events = read(
        began(0, "a"),
        began(1, "b"),
        added(0, '{"x":'),
        added(1, '{"y":'),
        added(0, "1}"),
        added(1, "2}"),
        END,
    )

    assert events == [
        start(0, "a"),
        ToolCallDelta(0, 0, '{"x":', 5),
        ToolCallDelta(0, 0, "1}", 2),
        start(1, "b"),
        ToolCallDelta(0, 1, '{"y":', 5),
        ToolCallDelta(0, 1, "2}", 2),
        ChoiceFinished(0, StopReason.TOOL_CALLS),
    ]


def test_a_call_that_is_whole_lets_the_next_be_said_as_it_comes() -> None:
    reader = EventReader()

    reader.feed(began(0, "a") + added(0, '{"x":1}'))

    assert said(reader.feed(began(1, "b"))) == [(1, "b")]
    assert said(reader.feed(added(1, "{"))) == [(1, "{")]


def test_a_call_without_arguments_is_over_at_the_end() -> None:
    events = read(began(0, "a"), began(1, "b"), added(1, "{}"), END)

    assert said(events) == [(0, "a"), (1, "b"), (1, "{}")]


def test_text_in_the_middle_of_a_call_comes_after_it() -> None:
    text = openai_frame({"content": "Hm."})

    events = read(began(0, "a"), added(0, '{"x":'), text, added(0, "1}"), text, END)

    assert said(events) == [(0, "a"), (0, '{"x":'), (0, "1}"), "Hm.", "Hm."]


def test_calls_of_one_number_are_told_apart_by_their_ids() -> None:
    whole = {"name": "f", "arguments": "{}"}
    events = read(
        openai_call(0, id="a", function=whole), openai_call(0, id="b", function=whole), END
    )

    assert said(events) == [(0, "a"), (0, "{}"), (1, "b"), (1, "{}")]


def test_pieces_of_one_call_may_have_an_id_each() -> None:
    events = read(began(0, "a"), openai_call(0, id="z", function={"arguments": "{}"}), END)

    assert said(events) == [(0, "a"), (0, "{}")]


def test_blanks_after_a_whole_call_are_left_out_and_more_is_the_servers_fault() -> None:
    whole = began(0, "a") + added(0, "{}") + began(1, "b")

    assert said(read(whole, added(0, " \n"), added(1, "{}"), END))[-1] == (1, "{}")
    reader = EventReader()
    reader.feed(whole + added(0, "}"))
    assert isinstance(reader.fault, UpstreamError)


def test_a_limit_that_cuts_calls_in_turns_loses_nothing_of_them() -> None:
    length = openai_frame({}, "length") + DONE

    events = read(began(0, "a"), began(1, "b"), added(0, "{"), added(1, '{"y"'), length)

    assert said(events) == [(0, "a"), (0, "{"), (1, "b"), (1, '{"y"')]
    assert events[-1] == ChoiceFinished(0, StopReason.LENGTH)


@pytest.mark.parametrize("depth", [1, 200])
def test_however_often_a_call_looks_whole_nothing_of_it_is_lost(depth: int) -> None:
    arguments = ['{"x":' * (depth - 1) + "{", *"}" * depth]

    events = read(began(0, "a"), began(1, "b"), *[added(0, each) for each in arguments], END)

    assert "".join(each[1] for each in said(events)[1:-1]) == "".join(arguments)
    assert said(events)[-1] == (1, "b")


ARGUMENTS = ('{"a":"}"}', "{}", '{"b":[1,{"c":null}]}', '{"d":"x y z"}')


@given(st.lists(st.integers(0, 3), max_size=80), st.integers(1, 5))
def test_whatever_the_turns_are_each_call_is_said_whole_and_in_order(
    turns: list[int], size: int
) -> None:
    left = {
        n: [text[at : at + size] for at in range(0, len(text), size)]
        for n, text in enumerate(ARGUMENTS)
    }
    frames = [began(n, f"call_{n}") for n in range(4)]
    turns += [n for n in range(4) for _ in left[n]]
    frames += [added(turn, left[turn].pop(0)) for turn in turns if left[turn]]

    found = said(read(*frames, END))

    order = [entry[0] for entry in found]
    assert order == sorted(order)
    for n, text in enumerate(ARGUMENTS):
        own = [entry[1] for entry in found if entry[0] == n]
        assert (own[0], "".join(own[1:])) == (f"call_{n}", text)

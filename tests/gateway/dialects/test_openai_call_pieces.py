"""Calls and choices that pass through: told apart, numbered, named once, as clients want them."""

from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta

from tests.gateway.dialects.relaying import chunks_of, through_openai
from tests.gateway.translation.transcripts import DONE, openai_call, openai_frame

ROLE = openai_frame({"role": "assistant", "content": None})
END = openai_frame({}, "tool_calls") + DONE


def begun(call_id: str | None, name: str = "f", arguments: str = "") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def passed(*pieces: bytes) -> list[dict[str, Any]]:
    """Return the pieces of calls that a caller gets of these."""
    chunks = chunks_of(through_openai([ROLE, *pieces, END]))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[-1] == {}
    return [piece for delta in deltas for piece in delta.get("tool_calls", [])]


def added_up(*pieces: bytes) -> list[Any]:
    """Add calls up as the official client does, to their ids, names and arguments."""
    message: dict[object, object] = {}
    for piece in passed(*pieces):
        message = accumulate_delta(message, {"tool_calls": [piece]})
    calls: Any = message["tool_calls"]
    assert [call["index"] for call in calls] == list(range(len(calls)))
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


@pytest.mark.parametrize(
    "again",
    [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "a", "function": {"arguments": "{}"}},
        {"id": "z", "function": {"arguments": "{}"}},
        {"id": None, "type": None, "function": {"name": None, "arguments": "{}"}},
        {"id": "", "type": "function", "function": {"name": "", "arguments": "{}"}},
        {"function": {"name": "f", "arguments": "{}"}},
    ],
)
def test_a_call_says_its_id_and_name_once(again: dict[str, Any]) -> None:
    assert passed(openai_call(0, **begun("a")), openai_call(0, **again)) == [
        {"index": 0, **begun("a")},
        {"index": 0, "function": {"arguments": "{}"}},
    ]


def test_what_a_call_says_of_itself_later_is_said() -> None:
    first = openai_call(0, type="function", function={"arguments": ""})
    second = openai_call(0, id="a", function={"name": "f", "arguments": "{}"})

    assert added_up(first, second) == [("a", "f", "{}")]


@pytest.mark.parametrize("bare", [{"id": "a"}, {"function": None}])
def test_a_piece_without_a_function_has_an_empty_one(bare: dict[str, Any]) -> None:
    assert passed(openai_call(0, **begun("a")), openai_call(0, **bare))[1] == {
        "index": 0,
        "function": {"arguments": ""},
    }


@pytest.mark.parametrize("number", [None, False, 0.0, "0"])
def test_what_is_no_number_is_numbered(number: Any) -> None:
    (piece,) = passed(openai_call(number, **begun("a")))

    assert type(piece["index"]) is int
    assert piece == {"index": 0, **begun("a")}


@pytest.mark.parametrize("numbers", [(0, 1), (0, 0), (1, 2), (1, 0), (3, 7)])
def test_calls_are_told_apart_and_count_from_0(numbers: tuple[int, int]) -> None:
    first, second = numbers

    assert added_up(
        openai_call(first, **begun("a")),
        openai_call(first, function={"arguments": '{"x":1}'}),
        openai_call(second, **begun("b", "g")),
        openai_call(second, function={"arguments": "{}"}),
    ) == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


def test_calls_in_turns_stay_in_turns() -> None:
    assert added_up(
        openai_call(1, **begun("a")),
        openai_call(2, **begun("b")),
        openai_call(1, function={"arguments": '{"x":'}),
        openai_call(2, function={"arguments": "{}"}),
        openai_call(1, function={"arguments": "1}"}),
    ) == [("a", "f", '{"x":1}'), ("b", "f", "{}")]


def test_calls_in_the_contracts_form_keep_their_bytes() -> None:
    pieces = [
        openai_call(0, **begun("a")).replace(b'"id":', b'"id": '),
        openai_call(0, function={"arguments": "{}"}).replace(b'"index":0}', b'"index": 0}'),
    ]

    got = through_openai([ROLE, *pieces, END])

    for piece in pieces:
        assert piece.partition(b'"choices":')[2] in got.frames


def of(index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
    return openai_frame(delta, reason).replace(b'"index":0', b'"index":%d' % index)


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_lower_choice_begins_before_a_higher_one(*, include_usage: bool) -> None:
    parts = [
        of(2, {"role": "assistant", "content": "c"}),
        of(0, {"role": "assistant", "content": "a"}),
        *[of(index, {}, "stop") for index in (2, 1, 0)],
        DONE,
    ]

    got = through_openai(parts, n=3, include_usage=include_usage)

    chunks = chunks_of(got, include_usage=include_usage)
    said = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert [(choice["index"], choice["delta"]) for choice in said] == [
        (0, {"role": "assistant", "content": ""}),
        (1, {"role": "assistant", "content": ""}),
        (2, {"role": "assistant", "content": "c"}),
        (0, {"content": "a"}),
        *[(index, {}) for index in (2, 1, 0)],
    ]
    assert got.tokens == 2
    assert [chunk["usage"] for chunk in chunks[:3] if "usage" in chunk] == [None] * (
        3 * include_usage
    )

"""Where callers of OpenAI's dialect mark a prompt that comes again, Anthropic is told."""

from typing import Any

import pytest

from tests.gateway.dialects.asking import WEATHER
from tests.gateway.translation.saying import HELLO, anthropic_body, openai_body

MARK = {"type": "ephemeral"}


def part(text: str, mark: Any = MARK) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": mark}


def marked_texts(body: dict[str, Any]) -> list[str]:
    blocks = [
        *body.get("system", ()),
        *(each for turn in body["messages"] for each in turn["content"]),
    ]
    return [
        block["text"] for block in blocks if isinstance(block, dict) and "cache_control" in block
    ]


def test_a_mark_stands_at_the_end_of_its_message_in_system_and_turns() -> None:
    body = anthropic_body(
        messages=[
            {"role": "system", "content": [part("A long lore.")]},
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [part("A book."), {"type": "text", "text": "Read it."}]},
        ]
    )

    assert body["system"] == [
        {"type": "text", "text": "A long lore.", "cache_control": MARK},
        {"type": "text", "text": "Be brief."},
    ]
    (turn,) = body["messages"]
    assert turn["content"] == [{"type": "text", "text": "A book.\nRead it.", "cache_control": MARK}]


@pytest.mark.parametrize("place", ["tool", "function"])
def test_a_tool_is_marked_beside_or_in_its_function(place: str) -> None:
    marked: dict[str, Any] = {**WEATHER, "cache_control": MARK}
    if place == "function":
        function: Any = WEATHER["function"]
        marked = {**WEATHER, "function": {**function, "cache_control": MARK}}

    body = anthropic_body(messages=[HELLO], tools=[WEATHER, marked])

    assert ["cache_control" in tool for tool in body["tools"]] == [False, True]


def test_the_result_of_a_tool_is_marked() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = anthropic_body(
        messages=[
            HELLO,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [part("Sunny.")]},
        ]
    )

    assert body["messages"][-1]["content"][-1] == {
        "type": "tool_result",
        "tool_use_id": "call_1",
        "content": "Sunny.",
        "cache_control": MARK,
    }


def test_the_last_four_of_more_marks_are_said() -> None:
    turns = [
        {"role": role, "content": [part(f"{role} {number}")]}
        for number in range(3)
        for role in ("user", "assistant")
    ]

    body = anthropic_body(messages=[{"role": "system", "content": [part("lore")]}, *turns, HELLO])

    assert marked_texts(body) == ["user 1", "assistant 1", "user 2", "assistant 2"]


def test_a_longer_life_than_the_price_knows_is_not_asked_for() -> None:
    body = anthropic_body(
        messages=[{"role": "user", "content": [part("A book.", {**MARK, "ttl": "1h"})]}]
    )

    assert body["messages"][0]["content"][0]["cache_control"] == MARK


@pytest.mark.parametrize("mark", [None, {}, {"type": "forever"}, "ephemeral", 5])
def test_what_is_no_mark_is_none(mark: Any) -> None:
    body = anthropic_body(messages=[{"role": "user", "content": [part("A book.", mark)]}])

    assert "cache_control" not in body["messages"][0]["content"][0]


def test_openai_keeps_prompts_by_itself_and_is_told_nothing() -> None:
    assert "cache_control" not in str(openai_body(messages=[HELLO]))

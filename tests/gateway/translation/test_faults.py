"""An upstream's refusal, read: which field it names, and whether the prompt has no room there."""

from typing import Any

import pytest

from gateway.providers.faults import MOST_PATH_CHARS, find_field, is_beyond_context

LONGEST = "a" * MOST_PATH_CHARS


@pytest.mark.parametrize(
    "param",
    [
        "n",
        "messages[3].content",
        "tools.0.name",
        "tools[0].x-y",
        "a[1][2].b_c",
        "maxTokens",
        LONGEST,
    ],
)
def test_a_path_is_passed_on(param: str) -> None:
    assert find_field({"param": param, "message": "top_k: no"}) == param


@pytest.mark.parametrize(
    "param",
    [
        *["", " ", "a b", "a.", ".a", "a[b]", "a[1", "[1]", "1", "a\n", "a/b", "é", "a: secret"],
        *["https://secret", LONGEST + "a", "a" * 2**16, 5, ["a"], {"a": 1}, True],
    ],
)
def test_what_is_no_path_is_not(param: Any) -> None:
    assert find_field({"param": param}) is None


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("messages.0.content: secret", "messages.0.content"),
        ("prompt is too long: 9 tokens", None),
        ("a" * 101 + ": secret", None),
        (None, None),
        (5, None),
    ],
)
def test_without_one_it_is_what_the_sentence_begins_with(message: Any, field: str | None) -> None:
    assert find_field({"message": message}) == field


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded"},
        {"type": "exceed_context_size_error", "code": 400},
        {"message": "prompt is too long: 210000 tokens > 200000 maximum"},
        {"message": "Prompt is too long"},
        {"message": "This model's maximum context length is 4096 tokens. However, …", "code": 400},
        {"message": "litellm.ContextWindowExceededError: … maximum context length is 9 tokens"},
    ],
)
def test_a_prompt_without_room_is_known_however_it_is_said(error: Any) -> None:
    assert is_beyond_context(error)


@pytest.mark.parametrize(
    "error",
    [
        {},
        {"code": None, "type": None, "message": None},
        {"code": ["context_length_exceeded"], "message": {"a": 1}},
        {"code": "string_above_max_length", "message": "user is too long"},
        {"message": "tools.0.name: the prompt is too long"},
    ],
)
def test_another_refusal_is_none(error: Any) -> None:
    assert not is_beyond_context(error)

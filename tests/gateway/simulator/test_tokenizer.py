"""The tokenizer keeps to its own specification, so that a bill can be checked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat import (
    ChatRequest,
    FormatKind,
    Media,
    Message,
    ResponseFormat,
    Thought,
    Tool,
    ToolCall,
)
from gateway.tokenizer import (
    MOST_TOKEN_BYTES,
    count_prompt,
    count_tokens,
    prompt_lower_bound,
    prompt_upper_bound,
    split_tokens,
)

TEXT = st.text(max_size=60) | st.text(alphabet=" \n\tabzéЖ日1.9🙂", max_size=60)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Hello, world!", ["Hello", ",", " world", "!"]),
        ("internationally", ["internat", "ionally"]),
        ("2026", ["202", "6"]),
        (" 1 234", [" 1", " 234"]),
        ("don't", ["don", "'", "t"]),
        ("  two", ["  ", "two"]),
        ("a\n\n b", ["a", "\n\n ", "b"]),
        (" " * 9, [" " * 8, " "]),
        ("café", ["café"]),
        ("日本 語", ["日", "本", " 語"]),
        ("ok 🙂", ["ok", " 🙂"]),
        ("x\u00a0y", ["x", "\u00a0", "y"]),
        ("2×3", ["2", "×", "3"]),  # the sign is meant
    ],
)
def test_a_text_is_cut_by_the_rules(text: str, tokens: list[str]) -> None:
    assert split_tokens(text) == tokens
    assert count_tokens(text) == len(tokens)


@given(TEXT)
def test_the_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@given(TEXT)
def test_tokens_have_between_1_and_17_bytes(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))

    assert size <= count_tokens(text) * MOST_TOKEN_BYTES
    assert count_tokens(text) <= size


@given(TEXT, st.integers(min_value=0, max_value=60))
def test_a_text_cut_short_counts_the_tokens_it_shows(text: str, end: int) -> None:
    shown = split_tokens(text[:end])
    whole = split_tokens(text)

    assert shown[:-1] == whole[: max(len(shown) - 1, 0)]
    assert not shown or whole[len(shown) - 1].startswith(shown[-1])


def request_of(*messages: Message, tools: tuple[Tool, ...] = ()) -> ChatRequest:
    return ChatRequest("hacxgpt", messages, {}, defined_tools=tools)


def test_a_prompt_is_counted_by_hand() -> None:
    assert count_prompt(request_of(Message("user", "Hello, world!"))) == 3 + 4 + 4
    assert (
        count_prompt(request_of(Message("user", "Hi", "bob"), Message("system", ""))) == 3 + 6 + 4
    )
    call = ToolCall("call_1", "get_weather", "{}")
    assert (
        count_prompt(request_of(Message("assistant", "", tool_calls=(call,)))) == 3 + 4 + 8 + 3 + 2
    )


def test_pictures_films_tools_and_schemas_count_what_the_specification_says() -> None:
    media = (Media("image", "u"), Media("image", "u", "low"), Media("video", "u"))
    tool = Tool("f", {}, '{"name":"f"}')
    schema = ResponseFormat(FormatKind.JSON_SCHEMA, {}, "{}")

    assert count_prompt(request_of(Message("user", "", media=media))) == 3 + 4 + 765 + 85 + 1500
    assert count_prompt(request_of(Message("user", ""), tools=(tool,))) == 3 + 4 + 8 + 9
    assert (
        count_prompt(ChatRequest("m", (Message("user", ""),), {}, response_format=schema))
        == 3 + 4 + 8 + 2
    )


def test_documents_and_thinking_count_what_the_specification_says() -> None:
    inline = Media("document", "data:application/pdf;base64," + "A" * 100)
    linked = Media("document", "https://example.com/a.pdf")
    thoughts = (Thought("Hm, yes.", "signed"), Thought("", sealed="abc def"))

    assert count_prompt(request_of(Message("user", "", media=(inline,)))) == 3 + 4 + 1500 + 4
    assert count_prompt(request_of(Message("user", "", media=(linked,)))) == 3 + 4 + 1500
    assert count_prompt(request_of(Message("assistant", "", thoughts=thoughts))) == 3 + 4 + 4 + 2


@given(st.lists(st.builds(Message, st.just("user"), TEXT, st.none() | TEXT), max_size=4), TEXT)
def test_the_count_is_never_outside_its_bounds(messages: list[Message], definition: str) -> None:
    request = request_of(*messages, tools=(Tool("f", {}, definition),))

    assert prompt_lower_bound(request) <= count_prompt(request) <= prompt_upper_bound(request)

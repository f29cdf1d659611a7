"""What the simulator says: deterministic, counted, cut where it must be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat import StopReason
from gateway.providers.simulator import plan
from gateway.providers.simulator.dice import fingerprint
from gateway.tokenizer import count_prompt, count_tokens
from tests.gateway.dialects.asking import WEATHER
from tests.gateway.simulator.asking import ask, said

STORY = {"role": "user", "content": "Tell me a story"}
REQUESTS = st.sampled_from(
    [
        "Tell me a story", "Explain tides.", "Count from 1 to 30.", "Write a haiku about coding.",
        "Repeat: añ🙂日本 语 \n\n  tabs\t end", "hello",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("What's the capital of germany?", "The capital of Germany is Berlin."),
        ("What is 2+2?", "2+2 equals 4."),
        ("What about 5+3?", "5+3 equals 8."),
        ("12 / 8", "12 / 8 equals 1.5."),
        ("What is 1/0?", "A number cannot be divided by zero."),
        ("Count from 1 to 10.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."),
        ("Say hello", "Hello!"),
        ("Say this is a test", "This is a test."),
        ('Say "this is a test."', "This is a test."),
        ("List 3 colors", "red, green, blue."),
        ("Repeat: abc\ndef", "abc\ndef"),
    ],
)
def test_what_is_easily_recognised_is_answered_plainly(text: str, answer: str) -> None:
    assert said(text) == answer


def test_hello_in_three_words_has_three_words() -> None:
    assert len(said("Say hello in exactly 3 words.").split()) == 3


def test_a_conversation_is_followed() -> None:
    messages = [
        {"role": "user", "content": "What's the capital of France?"},
        {"role": "assistant", "content": "The capital of France is Paris."},
        {"role": "user", "content": "And what about Germany?"},
    ]

    assert said(messages=messages) == "The capital of Germany is Berlin."


@pytest.mark.parametrize(
    "text",
    ["Tell me a story", "Explain tides.", "What do you think?", "How do I sort a list in Python?"],
)
def test_what_is_open_has_several_dozen_tokens_and_ends_by_itself(text: str) -> None:
    for seed in range(40):
        choice = plan(ask(text, seed=seed)).choices[0]

        assert 48 <= choice.tokens <= 1000
        assert choice.reason is StopReason.END


def test_the_longest_article_ends_within_a_thousand_tokens() -> None:
    for seed in range(40):
        choice = plan(ask("Write a long article about AI.", seed=seed)).choices[0]

        assert 500 < choice.tokens <= 1000
        assert choice.reason is StopReason.END


def test_the_same_request_has_the_same_answer_and_a_fixed_one_without_a_seed() -> None:
    assert plan(ask("Tell me a story", seed=7)) == plan(ask("Tell me a story", seed=7))
    assert said() == (
        "On the first cold morning of the year, a fox with a silver bell found a letter without a "
        "name. At the well, the water answered in a voice like a small bell. One night a lantern "
        "began to glow although nobody had lit it. Some said it was luck; others said it was only "
        "careful listening. There was no map, so they followed the smell of warm apples. A "
        "stranger asked for bread, and paid with a story instead of a coin. The lantern still "
        "burns, and if you are quiet you can hear it hum."
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True}, {"max_tokens": 500}, {"stop": ["@@"]}, {"temperature": 0.1},
        {"stream": True, "stream_options": {"include_usage": True}}, {"top_p": 0.3}, {"user": "u"},
    ],
)  # fmt: skip
def test_the_text_does_not_hang_on(fields: dict[str, Any]) -> None:
    assert said(**fields) == said()


@pytest.mark.parametrize(
    "fields",
    [
        *({"seed": seed} for seed in (1, 2, -3)),
        {"model": "gpt-4o"},
        {"messages": [{"role": "system", "content": "Be brief."}, STORY]},
        {"messages": [{**STORY, "name": "bob"}]},
        {"messages": [{"role": "assistant", "content": "Yes."}, STORY]},
        {"tools": [WEATHER]},
        {"tools": [WEATHER], "tool_choice": "none"},
    ],
)
def test_the_text_hangs_on(fields: dict[str, Any]) -> None:
    assert said(**fields) != said()
    assert said(**fields) == said(**fields)


def test_the_text_hangs_on_the_form_and_on_every_word_of_it() -> None:
    kinds = [{"type": "text"}, {"type": "json_object"}, *map(form_of, ("a", "b"))]

    assert len({fingerprint(ask(response_format=kind)) for kind in kinds}) == 4
    assert fingerprint(ask(response_format=kinds[0])) == fingerprint(ask())


def form_of(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {name: {"type": "integer"}}}
    return {"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}


def test_every_choice_has_a_text_of_its_own() -> None:
    choices = plan(ask("Tell me a story", n=8)).choices

    assert len({choice.pieces for choice in choices}) == 8


def test_choices_count_the_prompt_once_and_every_completion() -> None:
    request = ask("Tell me a story", n=5)
    answer = plan(request)

    assert len(answer.choices) == 5
    assert answer.choices[0] == plan(ask("Tell me a story")).choices[0]
    assert answer.usage.input == count_prompt(request)
    assert answer.usage.output == sum(count_tokens("".join(c.pieces)) for c in answer.choices)
    assert answer.usage.request == 1


@given(REQUESTS, st.integers(min_value=1, max_value=120))
def test_a_limit_cuts_to_exactly_so_many_tokens(text: str, limit: int) -> None:
    whole = plan(ask(text)).choices[0]
    choice = plan(ask(text, max_tokens=limit)).choices[0]

    assert choice.pieces == whole.pieces[:limit]
    assert choice.reason is (StopReason.LENGTH if limit < whole.tokens else StopReason.END)


@given(
    REQUESTS,
    st.lists(
        st.text(alphabet=" aeinst,.1234567890日🙂", min_size=1, max_size=4), min_size=1, max_size=4
    ),
    st.none() | st.integers(min_value=1, max_value=80),
)
def test_a_stop_sequence_never_appears_and_what_is_before_it_stays(
    text: str, stop: list[str], limit: int | None
) -> None:
    limited = "".join(plan(ask(text, max_tokens=limit)).choices[0].pieces)
    choice = plan(ask(text, max_tokens=limit, stop=stop)).choices[0]
    shown = "".join(choice.pieces)

    assert limited.startswith(shown)
    assert not any(each in shown for each in stop)
    assert choice.tokens == count_tokens(shown)
    is_cut = any(each in limited for each in stop)
    assert (choice.reason is StopReason.STOP_SEQUENCE) is is_cut
    assert is_cut or shown == limited


def test_a_stop_sequence_at_the_very_start_leaves_nothing() -> None:
    choice = plan(ask("Count from 1 to 10.", stop="1")).choices[0]

    assert (choice.pieces, choice.tokens) == ((), 0)
    assert choice.reason is StopReason.STOP_SEQUENCE


def test_a_stop_sequence_across_tokens_is_found() -> None:
    assert said("Count from 1 to 20.", stop=["11", "eleven"]) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "


def test_media_are_acknowledged_and_counted() -> None:
    parts = [
        {"type": "text", "text": "What's in this image?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/photo.jpg"}},
    ]
    answer = plan(ask(messages=[{"role": "user", "content": parts}]))

    assert "".join(answer.choices[0].pieces).startswith("I have received 1 image.")
    assert answer.usage.input == 3 + 4 + 7 + 765


def test_with_effort_thinking_comes_first_and_changes_no_word_of_the_answer() -> None:
    silent = plan(ask("What is 2+2?"))
    thinking = plan(ask("What is 2+2?", reasoning_effort="high"))

    choice = thinking.choices[0]
    assert "".join(choice.pieces) == "2+2 equals 4."
    assert "".join(choice.thoughts) == (
        'The last message says: "What is 2+2?". I look for a plain reply first, and write from '
        "set pieces where none comes to mind."
    )
    assert thinking.usage.input == silent.usage.input
    assert (thinking.usage.output, thinking.usage.reasoning) == (6, 33)
    assert silent.usage.reasoning == 0


def test_thinking_counts_towards_the_limit() -> None:
    cut = plan(ask("What is 2+2?", reasoning_effort="high", max_tokens=10)).choices[0]
    short = plan(ask("What is 2+2?", reasoning_effort="high", max_tokens=35)).choices[0]

    assert (len(cut.thoughts), cut.pieces, cut.reason) == (10, (), StopReason.LENGTH)
    assert (len(short.thoughts), short.pieces, short.reason) == (33, ("2", "+"), StopReason.LENGTH)


def test_the_stop_sequence_that_ended_an_answer_is_named() -> None:
    choice = plan(ask("Count from 1 to 30.", stop=["9", " 4", "never"])).choices[0]

    assert "".join(choice.pieces) == "1, 2, 3,"
    assert choice.stop_sequence == " 4"

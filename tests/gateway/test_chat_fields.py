"""What chat completions take, on live paths: every field, every turn and part, and nothing more."""

from typing import Any

import pytest

from gateway.dialects.openai.parameters import PARAMETERS
from tests.calls import CHAT, HELLO, chat_body, post
from tests.gateway.dialects.asking import CALL, WEATHER
from tests.gateway.dialects.test_openai_messages import CALLING, audio, image, user_with
from tests.gateway.test_chat_refusals import PATHS, RESULT
from tests.stage import Stage

FORM = {"name": "s", "schema": None, "strict": None, "description": None}
NULLS = ("models", "tools", "tool_choice", "response_format", "functions", "function_call", "audio")
SAID = {"role": "assistant", "content": "Hi.", "refusal": None}
FILM = "https://example.com/a.mp4"
PDF = "data:application/pdf;base64," + "AAAA" * 9


def answer_to(stage: Stage, body: dict[str, Any], path: str = CHAT) -> dict[str, Any]:
    """Return choices and usage of an answer that must be one."""
    answer = post(stage.api.url, stage.acme.key_text, {"model": "hacxgpt", **body}, path=path)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return {"choices": told["choices"], "usage": told["usage"]}


@pytest.mark.parametrize("field", sorted({*PARAMETERS, *NULLS}))
def test_null_is_as_good_as_not_given_in_every_field(stage: Stage, field: str) -> None:
    answers = [answer_to(stage, {"messages": HELLO, field: None}, path) for path in PATHS]

    assert answers == [answer_to(stage, {"messages": HELLO})] * 3


@pytest.mark.parametrize(
    ("given", "not_given"),
    [
        ({"stream_options": {"include_usage": None}, "stream": True}, {"stream": True}),
        ({"stream_options": {"include_obfuscation": None}, "stream": True}, {"stream": True}),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": None}}]},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": None}},
                    {"type": "function", "function": {"name": "g", "strict": None}},
                ]
            },
            {"tools": [{"type": "function", "function": {"name": name}} for name in "fg"]},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": FORM}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}},
        ),
        (
            {"response_format": {"type": "text", "json_schema": None}},
            {"response_format": {"type": "text"}},
        ),
        (
            {"messages": [{**HELLO[0], "name": None, "audio": None, "tool_calls": None}]},
            {"messages": HELLO},
        ),
        (
            {"messages": [*HELLO, {**SAID, "tool_calls": None, "function_call": None}, *HELLO]},
            {"messages": [*HELLO, {"role": "assistant", "content": "Hi."}, *HELLO]},
        ),
        (
            {"messages": user_with(image(FILM, detail=None))},
            {"messages": user_with(image(FILM))},
        ),
        (
            {"messages": user_with({"type": "file", "file": {"file_data": PDF, "filename": None}})},
            {"messages": user_with({"type": "file", "file": {"file_data": PDF}})},
        ),
    ],
)
def test_null_within_a_field_is_as_good_as_not_given(
    stage: Stage, given: dict[str, Any], not_given: dict[str, Any]
) -> None:
    bodies = [chat_body("hacxgpt", seed=1) | fields for fields in (given, not_given)]

    said = [post(stage.api.url, stage.acme.key_text, body) for body in bodies]

    assert [answer.status_code for answer in said] == [200, 200]
    if "stream" not in given:
        first, second = (answer.json() for answer in said)
        assert (first["choices"], first["usage"]) == (second["choices"], second["usage"])
    else:
        assert said[0].text.count("data: ") == said[1].text.count("data: ")
        assert '"usage"' not in said[0].text


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0}, {"temperature": 2}, {"top_p": 0},
        {"top_k": 40}, {"top_k": 1}, {"top_k": 0}, {"top_k": -1},
        {"presence_penalty": -2, "frequency_penalty": 2}, {"max_tokens": 4_096},
        {"max_tokens": 9, "max_completion_tokens": 9}, {"max_completion_tokens": 4_096},
        {"stop": []}, {"n": 1}, {"stream": False}, {"parallel_tool_calls": True},
        {"parallel_tool_calls": False}, {"tools": []}, {"tool_choice": "none"},
        {"tool_choice": "auto"}, {"response_format": {"type": "text"}}, {"functions": []},
        {"logprobs": False}, {"logit_bias": {"1": -100, "2": 100}},
        {"metadata": {str(number): "x" for number in range(16)}}, {"user": "u"},
        {"safety_identifier": "s"}, {"prompt_cache_key": "k"},
        {"prompt_cache_options": {"mode": "explicit"}}, {"prompt_cache_retention": "24h"},
        {"service_tier": "auto"}, {"service_tier": "priority"}, {"store": True}, {"store": False},
        {"reasoning_effort": "none"}, {"reasoning_effort": "minimal"}, {"verbosity": "low"},
        {"verbosity": "medium"}, {"verbosity": "high"}, {"modalities": ["text"]},
        {"prediction": {"type": "content", "content": "Hi"}}, {"moderation": {"model": "omni"}},
        {"web_search_options": {"search_context_size": "low"}},
        {"an_unknown_field": {"a": [1, None]}},
    ],
)  # fmt: skip
def test_what_steers_nothing_here_is_taken_on_every_path(
    stage: Stage, fields: dict[str, Any]
) -> None:
    answers = [answer_to(stage, {"messages": HELLO, **fields}, path) for path in PATHS]

    assert answers == [answer_to(stage, {"messages": HELLO})] * 3


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_an_effort_is_taken_and_the_words_of_the_answer_stay(stage: Stage, effort: str) -> None:
    plain = answer_to(stage, {"messages": HELLO})["choices"][0]["message"]

    for path in PATHS:
        body = {"messages": HELLO, "reasoning_effort": effort}
        message = answer_to(stage, body, path)["choices"][0]["message"]
        assert message.pop("reasoning_content")
        assert message == plain


@pytest.mark.parametrize("seed", [-(2**63), -1, 0, 2**63 - 1])
def test_a_seed_is_any_integer_of_64_bits_and_the_same_one_says_the_same(
    stage: Stage, seed: int
) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me a story"}], "seed": seed}

    answers = [answer_to(stage, body, path) for path in (*PATHS, *PATHS)]

    assert answers == [answers[0]] * 6


def test_choices_count_the_prompt_once_and_each_its_words(stage: Stage) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me a story"}], "logprobs": True}

    one, three = answer_to(stage, body), answer_to(stage, {**body, "n": 3})

    tokens = [len(choice["logprobs"]["content"]) for choice in three["choices"]]
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["choices"][0] == one["choices"][0]
    assert three["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert three["usage"]["completion_tokens"] == sum(tokens)


def test_without_a_limit_even_a_long_answer_ends_by_itself(stage: Stage) -> None:
    for text in ("Write a long article about AI.", "Tell me a story", "Hello"):
        answer = answer_to(stage, {"messages": [{"role": "user", "content": text}]})

        assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_form_needs_no_word_of_json_in_the_prompt(stage: Stage) -> None:
    for form in (
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    ):
        answer = answer_to(stage, {"messages": HELLO, "response_format": form})

        assert answer["choices"][0]["message"]["content"].startswith("{")
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_128_tools_with_names_of_64_characters_are_taken(stage: Stage) -> None:
    tools = [
        {"type": "function", "function": {"name": f"{number:_<63}-", "parameters": None}}
        for number in range(128)
    ]

    for path in PATHS:
        answer_to(stage, {"messages": HELLO, "tools": tools}, path)


def choose(*names: str, mode: str = "") -> Any:
    """Return the choice of a tool by its name, or of several that are allowed."""
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    if not mode:
        return tools[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize(
    ("fields", "called"),
    [
        ({}, ["get_weather", "get_weather"]),
        ({"parallel_tool_calls": True}, ["get_weather", "get_weather"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": "auto"}, ["get_weather", "get_weather"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["get_weather", "get_weather"]),
        ({"tool_choice": choose("f")}, ["f"]),
        ({"tool_choice": choose("f", mode="auto")}, []),
        ({"tool_choice": choose("f", mode="required")}, ["f"]),
        ({"tool_choice": choose("get_weather", mode="auto")}, ["get_weather", "get_weather"]),
    ],
)
def test_the_tools_that_are_chosen_are_called_on_every_path(
    stage: Stage, fields: dict[str, Any], called: list[str]
) -> None:
    tools = [WEATHER, {"type": "function", "function": {"name": "f", "strict": True}}]
    messages = [{"role": "user", "content": "What is the weather in Oslo and Rome?"}]
    body = {"messages": messages, "tools": tools, **fields}

    for path in PATHS:
        message = answer_to(stage, body, path)["choices"][0]["message"]

        calls = message.get("tool_calls", [])
        assert [call["function"]["name"] for call in calls] == called


@pytest.mark.parametrize("path", PATHS)
def test_every_role_and_form_of_content_is_taken(stage: Stage, path: str) -> None:
    words = [{"type": "text", "text": "Weather in Oslo?"}]
    legacy = {"name": "f", "arguments": "{}"}
    messages = [
        {"role": "system", "content": "Be kind.", "name": "house"},
        {"role": "developer", "content": words, "name": "bob"},
        {"role": "user", "content": "Hello", "name": "ann"},
        {"role": "assistant", "content": "", "tool_calls": [], "audio": None, "annotations": []},
        {"role": "user", "content": words},
        {**CALLING, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        {**RESULT, "tool_call_id": "call_2", "content": words},
        RESULT,
        {"role": "assistant", "content": [*words, {"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": None, "function_call": legacy},
        {"role": "function", "name": "f", "content": None},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm.", "refusal": None},
        {"role": "user", "content": "Say hello"},
    ]

    answer = answer_to(stage, {"messages": messages, "tools": [WEATHER]}, path)

    assert answer["choices"][0]["message"]["content"] == "Hello!"


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        *((image(url), 765) for url in ("https://example.com/a.png", "http://example.com/a")),
        *(
            (image(f"data:image/{kind};base64,AAAA"), 765)
            for kind in ("png", "jpeg", "gif", "webp")
        ),
        *((image(FILM, detail=word), 765) for word in ("auto", "high", "original")),
        (image(FILM, detail="low"), 85),
        ({"type": "video_url", "video_url": {"url": FILM}}, 1_500),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}, 1_500),
        (audio("UklG", "wav"), 100),
        (audio("UklG" * 80, "mp3"), 101),
        ({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}, 1_502),
    ],
)
def test_every_part_is_taken_on_every_path_and_counts_in_the_prompt(
    stage: Stage, part: dict[str, Any], tokens: int
) -> None:
    text = {"type": "text", "text": "Look"}
    alone = answer_to(stage, {"messages": user_with(text)})["usage"]["prompt_tokens"]

    for path in PATHS:
        answer = answer_to(stage, {"messages": user_with(text, part)}, path)

        assert answer["usage"]["prompt_tokens"] == alone + tokens
        assert answer["choices"][0]["message"]["content"].startswith("I have received 1 ")

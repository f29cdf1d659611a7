"""The wire contract of the built-in model, live: what it takes, counts, says and calls."""

import re
from typing import Any

import orjson
import pytest
import requests

from gateway.demo import MODELS
from tests.calls import post
from tests.gateway.dialects import anthropic_asking
from tests.gateway.dialects.asking import CALL, WEATHER
from tests.stage import Stage

OPENAI, ANTHROPIC = "/v1/chat/completions", "/anthropic/v1/messages"
PNG = "iVBORw0KGgo="
PDF = "JVBERi0="
STORY = [{"role": "user", "content": "Tell me a story"}]
HELLO = [{"role": "user", "content": "Hello"}]
WITH_WEATHER: dict[str, Any] = {"tools": [WEATHER]}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather in Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]


def ask(stage: Stage, path: str, **fields: Any) -> Any:
    limit = {"max_tokens": 1024} if path == ANTHROPIC else {}
    body = {"model": "hacxgpt", **limit, **fields}
    answer = post(stage.api.url, stage.acme.key_text, body, path=path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(stage: Stage, **fields: Any) -> Any:
    return ask(stage, OPENAI, **fields)


def message_of(stage: Stage, **fields: Any) -> Any:
    return ask(stage, ANTHROPIC, **fields)


def prompt_of(stage: Stage, *parts: Any, **fields: Any) -> int:
    """Return what a prompt of these parts counts."""
    messages = [{"role": "user", "content": list(parts)}] if parts else HELLO
    return int(chat(stage, **{"messages": messages, **fields})["usage"]["prompt_tokens"])


TEXT: dict[str, Any] = {"type": "text", "text": "Hello"}
# what each part of OpenAI's counts, by the tokenizer's specification
PARTS: dict[str, tuple[dict[str, Any], int]] = {
    "text": (TEXT, 1),
    "image": ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 765),
    "inline image": (
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"},
        },
        85,
    ),
    "video": ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, 1500),
    "inline video": (
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
        1500,
    ),
    "audio": ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}}, 100),
    "file": (
        {
            "type": "file",
            "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
        },
        1500 + 36 // 32,
    ),
}


@pytest.mark.parametrize("kind", PARTS)
def test_every_part_of_openais_messages_is_taken_and_counted(stage: Stage, kind: str) -> None:
    part, tokens = PARTS[kind]

    assert prompt_of(stage, part) == 3 + 4 + tokens


# what a conversation of each role of OpenAI's counts beyond the answer's beginning
ROLES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "system": ([{"role": "system", "content": "Be kind."}, *HELLO], 4 + 3 + 4 + 1),
    "developer": ([{"role": "developer", "content": [TEXT]}, *HELLO], 4 + 1 + 4 + 1),
    "user": ([{"role": "user", "content": "Hello", "name": "bob"}], 4 + 1 + 1),
    "assistant": ([*HELLO, {"role": "assistant", "content": "Yes."}, *HELLO], 5 + 6 + 5),
    "assistant who refused": (
        [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, *HELLO],
        5 + 5 + 5,
    ),
    "tool": (CALLED, (4 + 4) + (4 + 8 + 3 + 9) + (4 + 1)),
    "function": (
        [
            *HELLO,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": "rain"},
        ],
        5 + (4 + 8 + 1) + (4 + 1 + 1),
    ),
}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_of_openais_is_taken_and_its_turns_counted(stage: Stage, role: str) -> None:
    messages, tokens = ROLES[role]

    assert prompt_of(stage, messages=messages) == 3 + tokens


def source(**fields: Any) -> dict[str, Any]:
    return {"source": fields}


IMAGE = {"type": "image", **source(type="base64", media_type="image/png", data=PNG)}
PDF_TOKENS = 1500 + len(f"data:application/pdf;base64,{PDF}") // 32
# what each block of Anthropic's counts, by the same specification
BLOCKS: dict[str, tuple[dict[str, Any], int]] = {
    "text": (TEXT, 1),
    "image": (IMAGE, 765),
    "linked image": ({"type": "image", **source(type="url", url="https://example.com/a.png")}, 765),
    "document": (
        {
            "type": "document",
            "title": "a.pdf",
            **source(type="base64", media_type="application/pdf", data=PDF),
        },
        PDF_TOKENS,
    ),
    "linked document": (
        {"type": "document", **source(type="url", url="https://example.com/a.pdf")},
        1500,
    ),
    "plain document": (
        {"type": "document", **source(type="text", media_type="text/plain", data="Hello")},
        1,
    ),
    "composed document": ({"type": "document", **source(type="content", content=[TEXT])}, 1),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block_of_anthropics_messages_is_taken_and_counted(stage: Stage, kind: str) -> None:
    block, tokens = BLOCKS[kind]

    answer = message_of(stage, messages=[{"role": "user", "content": [block]}])

    assert answer["usage"]["input_tokens"] == 3 + 4 + tokens


TOOL_USE = anthropic_asking.CALL
RESULT = anthropic_asking.RESULT
SAID: dict[str, tuple[list[Any], Any, int]] = {
    "tool_use and tool_result": ([TOOL_USE], [RESULT], (8 + 3 + 9) + 4 + 2),
    "a result with a picture": (
        [TOOL_USE],
        [{**RESULT, "content": [TEXT, IMAGE]}],
        (8 + 3 + 9) + 4 + 1 + 765,
    ),
    "thinking": (
        [{"type": "thinking", "thinking": "Hm, yes.", "signature": "s"}, TEXT],
        "Hello",
        4 + 1 + 4 + 1,
    ),
    "redacted_thinking": ([{"type": "redacted_thinking", "data": "abc"}, TEXT], "Hello", 7),
}


@pytest.mark.parametrize("kind", SAID)
def test_what_anthropics_assistant_said_is_taken_back_and_counted(stage: Stage, kind: str) -> None:
    said, following, tokens = SAID[kind]
    turns = [
        *HELLO,
        {"role": "assistant", "content": said},
        {"role": "user", "content": following},
    ]

    answer = message_of(stage, messages=turns)

    assert answer["usage"]["input_tokens"] == 3 + 5 + 4 + tokens


def test_system_text_and_history_tools_and_forms_count_in_both_dialects_alike(stage: Stage) -> None:
    history = [*HELLO, {"role": "assistant", "content": "Yes."}, *HELLO]
    plain = prompt_of(stage, messages=history)
    system = [{"role": "system", "content": "Be kind."}, *history]

    assert prompt_of(stage, messages=system) == plain + 4 + 3
    told = message_of(stage, messages=history, system="Be kind.", tools=[anthropic_asking.WEATHER])
    with_tool = prompt_of(stage, messages=system, **WITH_WEATHER)
    definition = orjson.dumps(
        {key: WEATHER["function"][key] for key in ("name", "description", "parameters")}  # type: ignore[index]
    ).decode()
    assert with_tool == plain + 4 + 3 + 8 + tokens_of(stage, definition)
    assert told["usage"]["input_tokens"] == with_tool


def tokens_of(stage: Stage, text: str) -> int:
    return prompt_of(stage, messages=[{"role": "user", "content": text}]) - 3 - 4


def test_a_plain_message_is_answered_and_counted_alike_in_both_dialects(stage: Stage) -> None:
    for seed in (None, 0):  # without a seed it is a fixed one
        told = chat(stage, messages=STORY, seed=seed)
        said = message_of(stage, messages=STORY)

        assert said["content"][0]["text"] == told["choices"][0]["message"]["content"]
        assert said["usage"]["input_tokens"] == told["usage"]["prompt_tokens"] == 3 + 4 + 4
        assert said["usage"]["output_tokens"] == told["usage"]["completion_tokens"]


def test_every_built_in_model_takes_128_000_tokens_and_writes_8_192(stage: Stage) -> None:
    key = {"authorization": f"Bearer {stage.acme.key_text}"}
    listed = requests.get(stage.api.url + "/v1/models", headers=key, timeout=10).json()["data"]

    limits = {
        (model["context_length"], model["top_provider"]["max_completion_tokens"])
        for model in listed
        if model["id"] in MODELS
    }

    assert limits == {(128_000, 8_192)}


def test_a_prompt_of_100_000_tokens_is_answered_within_a_limit_of_4_096(stage: Stage) -> None:
    messages = [{"role": "user", "content": "word " * 100_000}]

    answer = chat(stage, messages=messages, max_tokens=4_096)

    assert answer["usage"]["prompt_tokens"] == 3 + 4 + 100_000 + 1  # the last space
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_story_is_a_text_of_plain_words_that_ends_by_itself(stage: Stage) -> None:
    answer = chat(stage, messages=STORY)

    text = answer["choices"][0]["message"]["content"]
    assert re.fullmatch(r"[A-Z][A-Za-z ,;.'-]{200,}\.", text)
    assert 36 <= answer["usage"]["completion_tokens"] <= 1000
    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_anthropics_any_and_a_named_tool_are_calls(stage: Stage, choice: Any) -> None:
    answer = message_of(stage, messages=STORY, tools=[anthropic_asking.WEATHER], tool_choice=choice)

    (block,) = answer["content"]
    assert (block["type"], block["name"]) == ("tool_use", "get_weather")
    assert isinstance(block["input"]["location"], str)
    assert answer["stop_reason"] == "tool_use"


def test_after_a_result_it_answers_in_text_in_both_dialects(stage: Stage) -> None:
    told = chat(stage, messages=CALLED, **WITH_WEATHER)["choices"][0]
    turns = [
        CALLED[0],
        {"role": "assistant", "content": [TOOL_USE]},
        {"role": "user", "content": [{**RESULT, "content": "rain"}]},
    ]
    said = message_of(stage, messages=turns, tools=[anthropic_asking.WEATHER])

    assert told["message"]["content"] == said["content"][0]["text"] == "Here is what I found: rain"
    assert (told["finish_reason"], said["stop_reason"]) == ("stop", "end_turn")


@pytest.mark.parametrize(("parallel", "calls"), [(None, 2), (True, 2), (False, 1)])
def test_several_calls_are_made_only_where_they_are_allowed(
    stage: Stage, *, parallel: bool | None, calls: int
) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather in Paris and London?"}]
    told = chat(stage, messages=asked, parallel_tool_calls=parallel, **WITH_WEATHER)
    said = message_of(
        stage,
        messages=asked,
        tools=[anthropic_asking.WEATHER],
        tool_choice={"type": "auto", "disable_parallel_tool_use": parallel is False},
    )

    assert len(told["choices"][0]["message"]["tool_calls"]) == calls
    assert len(said["content"]) == calls


def test_json_is_small(stage: Stage) -> None:
    thing = chat(stage, messages=STORY, response_format={"type": "json_object"})
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "tags": {"type": "array"}},
        "required": ["name", "tags"],
    }
    form = chat(
        stage,
        messages=STORY,
        response_format={"type": "json_schema", "json_schema": {"name": "f", "schema": schema}},
    )

    assert 0 < thing["usage"]["completion_tokens"] < 100
    assert 0 < form["usage"]["completion_tokens"] < 300

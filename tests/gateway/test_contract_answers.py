"""The wire contract of whole chat answers, live: their fields, why they end, their calls."""

import re
from typing import Any

import jsonschema_rs
import orjson
import pytest

from kernel import clock
from tests.calls import frames, post, text_of
from tests.gateway.dialects.asking import WEATHER
from tests.stage import Stage

STORY = [{"role": "user", "content": "Tell me a story"}]
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
ASKS_WEATHER = [{"role": "user", "content": "What is the weather in Paris and London?"}]
FUNCTION: Any = WEATHER["function"]
BOOKING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "location": {"type": "string"},
        "nights": {"type": "integer", "minimum": 1, "maximum": 3},
        "class": {"enum": ["first", "second"]},
        "note": {"type": ["string", "null"]},
    },
    "required": ["location", "nights", "class", "note"],
    "additionalProperties": False,
}
BOOK: dict[str, Any] = {
    "type": "function",
    "function": {"name": "book_room", "parameters": BOOKING, "strict": True},
}
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"const": "form"},
        "mood": {"enum": ["calm", "glad"]},
        "age": {"type": "integer", "minimum": 18, "exclusiveMaximum": 21},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
        "is_new": {"type": "boolean"},
        "name": {"type": "string", "minLength": 3, "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3},
        "pet": {"$ref": "#/$defs/pet"},
        "friend": {"anyOf": [{"$ref": "#/$defs/pet"}, {"type": "null"}]},
        "nick": {"type": ["string", "null"]},
    },
    "$defs": {
        "pet": {
            "type": "object",
            "properties": {"legs": {"type": "integer", "multipleOf": 4}},
            "required": ["legs"],
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
FORM["required"] = list(FORM["properties"])
IN_FORM = {"type": "json_schema", "json_schema": {"name": "form", "schema": FORM, "strict": True}}


def ask(stage: Stage, **fields: Any) -> Any:
    body = {"model": "hacxgpt", "messages": STORY, **fields}
    answer = post(stage.api.url, stage.acme.key_text, body)
    assert answer.status_code == 200, answer.text
    return frames(answer.text) if fields.get("stream") else answer.json()


def choice_of(stage: Stage, **fields: Any) -> Any:
    (choice,) = ask(stage, **fields)["choices"]
    return choice


def test_a_whole_answer_has_these_fields_and_an_id_of_its_own(stage: Stage) -> None:
    began_s = clock.now_s()
    first, second = (ask(stage, messages=CAPITAL) for _ in range(2))

    assert began_s <= first["created"] <= clock.now_s()
    assert re.fullmatch(r"chatcmpl-\w{20,}", first["id"])
    assert first["id"] != second["id"]
    message = {"role": "assistant", "content": "The capital of France is Paris.", "refusal": None}
    assert first == {
        "id": first["id"],
        "object": "chat.completion",
        "created": first["created"],
        "model": "hacxgpt",
        "system_fingerprint": "fp_tollgate",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 14,
            "completion_tokens": 7,
            "total_tokens": 21,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "cost": 0.000028,
            "x_tollgate": {"evidence": "provider"},
        },
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "stop"),
        ({"stop": " a"}, "stop"),
        ({"max_tokens": 3}, "length"),
        ({"messages": ASKS_WEATHER, "tools": [WEATHER]}, "tool_calls"),
        ({"messages": ASKS_WEATHER, "functions": [FUNCTION]}, "function_call"),
    ],
)
def test_why_an_answer_ended_is_said_whole_and_streamed(
    stage: Stage, fields: dict[str, Any], reason: str
) -> None:
    chunks = ask(stage, stream=True, **fields)[:-1]

    assert choice_of(stage, **fields)["finish_reason"] == reason
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + [reason]


@pytest.mark.parametrize("length", range(1, 12))
def test_a_stop_sequence_is_never_in_the_text_nor_a_part_of_it_in_a_stream(
    stage: Stage, length: int
) -> None:
    text = choice_of(stage)["message"]["content"]
    stop = text[40 : 40 + length]

    choice = choice_of(stage, stop=stop)

    assert choice["message"]["content"] == text[: text.index(stop)]
    assert choice["finish_reason"] == "stop"
    assert text_of(ask(stage, stop=stop, stream=True)) == text[: text.index(stop)]


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "book_room"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [BOOK]},
        },
    ],
    ids=["required", "named", "allowed"],
)
def test_a_demanded_call_ends_as_one_with_arguments_that_fit_the_schema(
    stage: Stage, choice: Any
) -> None:
    made = choice_of(stage, tools=[BOOK], tool_choice=choice)

    assert made["finish_reason"] == "tool_calls"
    assert made["message"].keys() == {"role", "content", "refusal", "tool_calls"}
    assert made["message"]["content"] is None
    (call,) = made["message"]["tool_calls"]
    assert call.keys() == {"id", "type", "function"}
    assert (call["type"], call["function"]["name"]) == ("function", "book_room")
    jsonschema_rs.Draft202012Validator(BOOKING).validate(
        orjson.loads(call["function"]["arguments"])
    )


def test_every_call_has_an_id_of_its_own(stage: Stage) -> None:
    asked: dict[str, Any] = {"messages": ASKS_WEATHER, "tools": [WEATHER]}

    messages = [choice_of(stage, **asked)["message"] for _ in range(2)]

    ids = [call["id"] for message in messages for call in message["tool_calls"]]
    assert len(set(ids)) == len(ids) == 4
    assert all(re.fullmatch(r"call_\w{20,}", each) for each in ids)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_without_a_call_there_is_no_field_of_calls(stage: Stage, choice: str) -> None:
    message = choice_of(stage, tools=[WEATHER], tool_choice=choice)["message"]

    assert message.keys() == {"role", "content", "refusal"}
    assert message["content"]


def test_a_json_object_and_a_form_are_what_they_were_asked_to_be(stage: Stage) -> None:
    for seed in range(5):
        thing = choice_of(stage, response_format={"type": "json_object"}, seed=seed)
        form = choice_of(stage, response_format=IN_FORM, seed=seed)

        assert isinstance(orjson.loads(thing["message"]["content"]), dict)
        value = orjson.loads(form["message"]["content"])
        jsonschema_rs.Draft202012Validator(FORM).validate(value)
        assert (thing["finish_reason"], form["finish_reason"]) == ("stop", "stop")


def test_a_form_that_the_limit_cuts_says_so(stage: Stage) -> None:
    whole = choice_of(stage, response_format=IN_FORM)["message"]["content"]

    cut = choice_of(stage, response_format=IN_FORM, max_tokens=7)

    assert cut["finish_reason"] == "length"
    assert whole.startswith(cut["message"]["content"])
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(cut["message"]["content"])

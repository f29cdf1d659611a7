"""Chat completions that are refused, on live paths: one word for each fault, and nothing moves."""

import json
from typing import Any

import pytest
import requests

from tests.books import assert_proven
from tests.calls import HELLO, chat_body, post, wait_for
from tests.gateway.dialects.asking import CALL
from tests.gateway.dialects.test_openai_bodies import NO_JSON_OBJECTS
from tests.gateway.dialects.test_openai_messages import CALLING, audio, image, user_with
from tests.gateway.test_contract_door import assert_nothing_moved
from tests.stage import Stage

PATHS = [f"{prefix}/chat/completions" for prefix in ("/v1", "/api/v1", "/api")]
IMAGE_URL = "messages[0].content[0].image_url.url"
LONG_NAME = {"type": "function", "function": {"name": "a" * 65}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
# A lone half of a character: json writes it as an escape, which is how it would come.
HALF = "a\ud800b"
NUL = "a\0b"


def error_of(answer: requests.Response) -> dict[str, Any]:
    """Return a refusal's error, which has its four fields and is valid UTF-8."""
    body = json.loads(answer.content.decode("utf-8", "strict"))
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize(
    ("code", "param", "fields"),
    [
        ("missing_required_parameter", "messages", {"messages": None}),
        ("invalid_type", "temperature", {"temperature": "0.5"}),
        ("invalid_value", "messages[1].role", {"messages": [*HELLO, {"role": "robot"}]}),
        ("integer_below_min_value", "n", {"n": 0}),
        ("integer_above_max_value", "max_tokens", {"max_tokens": 10**9}),
        ("decimal_below_min_value", "top_p", {"top_p": -0.1}),
        ("decimal_above_max_value", "temperature", {"temperature": 2.1}),
        ("empty_array", "messages[0].content", {"messages": user_with()}),
        ("array_above_max_length", "stop", {"stop": ["a", "b", "c", "d", "e"]}),
        ("string_above_max_length", "tools[0].function.name", {"tools": [LONG_NAME]}),
        ("unsupported_value", "modalities", {"modalities": ["text", "audio"]}),
        (
            "context_length_exceeded",
            "messages",
            {"messages": [{"role": "user", "content": "word " * 130_000}]},
        ),
        ("invalid_image_url", IMAGE_URL, {"messages": user_with(image("ftp://example.com/a"))}),
        (
            "invalid_base64",
            IMAGE_URL,
            {"messages": user_with(image("data:image/png;base64,AA=A"))},
        ),
    ],
)
def test_a_fault_has_its_code_and_field_on_every_path_streamed_or_not(
    stage: Stage, code: str, param: str, fields: dict[str, Any]
) -> None:
    answers = [
        post(stage.api.url, stage.acme.key_text, body, path=path)
        for path in PATHS
        for body in (chat_body("hacxgpt") | fields, chat_body("hacxgpt", stream=True) | fields)
    ]

    error = error_of(answers[0])
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert {answer.status_code for answer in answers} == {400}
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert_nothing_moved(stage)


NO_MODEL = ("You must specify a model to call", "model", "missing_required_parameter")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        *(
            ({**model, "messages": HELLO}, 400, NO_MODEL)
            for model in ({}, {"model": None}, {"model": ""})
        ),
        (
            {"model": "a/b", "messages": HELLO},
            404,
            ("Model not found: a/b", "model", "model_not_found"),
        ),
        (
            {"model": "hacxgpt", "messages": []},
            400,
            ("Messages array cannot be empty", "messages", "empty_array"),
        ),
        (
            {"model": "hacxgpt"},
            400,
            (
                "Missing required parameter: 'messages'.",
                "messages",
                "missing_required_parameter",
            ),
        ),
    ],
)
def test_without_a_model_or_messages_every_path_says_the_same(
    stage: Stage, path: str, body: Any, status: int, said: tuple[str, str, str]
) -> None:
    answer = post(stage.api.url, stage.acme.key_text, body, path=path)

    error = error_of(answer)
    assert answer.status_code == status
    assert (error["message"], error["param"], error["code"]) == said
    assert error["type"] == "invalid_request_error"
    assert_nothing_moved(stage)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([*HELLO, CALLING], "messages[1].tool_calls"),
        ([*HELLO, CALLING, *HELLO, RESULT], "messages[1].tool_calls"),
        ([*HELLO, RESULT], "messages[1].tool_call_id"),
        ([*HELLO, CALLING, {**RESULT, "tool_call_id": "call_2"}], "messages[2].tool_call_id"),
        ([*HELLO, CALLING, RESULT, *HELLO, RESULT], "messages[4].tool_call_id"),
    ],
)
def test_a_call_without_its_result_and_a_result_without_its_call_are_refused(
    stage: Stage, messages: list[Any], param: str
) -> None:
    for path in PATHS:
        body = {"model": "hacxgpt", "messages": messages}
        answer = post(stage.api.url, stage.acme.key_text, body, path=path)

        assert answer.status_code == 400
        assert (error_of(answer)["code"], error_of(answer)["param"]) == ("invalid_value", param)
    assert_nothing_moved(stage)


@pytest.mark.parametrize("path", PATHS)
def test_hostile_bodies_are_400_and_the_next_call_is_answered(stage: Stage, path: str) -> None:
    for body in NO_JSON_OBJECTS:
        answer = post(stage.api.url, stage.acme.key_text, body, path=path)

        assert answer.status_code == 400, body[:80]
        assert error_of(answer)["type"] == "invalid_request_error"
    assert_nothing_moved(stage)
    after = post(stage.api.url, stage.acme.key_text, chat_body("hacxgpt"), path=path)
    assert after.status_code == 200


def with_text(text: str) -> list[dict[str, Any]]:
    """Return bodies that have the text in one string each: values and names of fields."""
    function = {"name": "f", "description": text, "parameters": {"properties": {text: {}}}}
    called = {**CALL, "id": text}
    form = {"type": "json_schema", "json_schema": {"name": text}}
    turns = [{**CALLING, "tool_calls": [called]}, {**RESULT, "tool_call_id": text}]
    fields: list[dict[str, Any]] = [
        {"model": text}, {"models": [text]}, {"user": text}, {"safety_identifier": text},
        {"prompt_cache_key": text}, {"service_tier": text}, {"reasoning_effort": text},
        {"stop": text}, {"stop": [text]}, {"metadata": {text: text}}, {"logit_bias": {text: 1}},
        {"unknown": {text: text}}, {text: 1}, {"response_format": form}, {"tool_choice": text},
        {"tools": [{"type": "function", "function": function}]}, {"functions": [function]},
        {"tools": [{"type": "function", "function": {"name": text}}]},
        {"messages": [{"role": text, "content": "x"}]},
        {"messages": [{"role": "user", "content": f"Repeat: {text}", "name": text}]},
        {"messages": user_with({"type": "text", "text": f"Repeat: {text}"})},
        {"messages": user_with({"type": text})},
        {"messages": user_with(image(f"https://example.com/{text}"))},
        {"messages": user_with(audio(text))},
        {"messages": turns},
        {"messages": [*HELLO, {"role": "assistant", "content": "", "reasoning_content": text}]},
    ]  # fmt: skip
    return [{**chat_body("hacxgpt"), **each} for each in fields]


def test_half_a_character_is_refused_in_every_string(stage: Stage) -> None:
    for body in with_text(HALF):
        answer = post(stage.api.url, stage.acme.key_text, body)

        assert answer.status_code == 400, body
        assert error_of(answer)["code"] == "invalid_value"
    assert_nothing_moved(stage)


def test_a_nul_in_any_string_is_answered_or_refused_and_kept_whole(stage: Stage) -> None:
    from billing.models import Hold, UsageEvent

    billed = set()
    for number, body in enumerate(with_text(NUL)):
        for stream in (False, True):
            key = {"idempotency-key": f"{number}-{stream}"}
            sent = {**body, "stream": stream}
            answer = post(stage.api.url, stage.acme.key_text, sent, **key)
            answer.content.decode("utf-8", "strict")
            if answer.status_code == 200:
                billed.add(answer.headers["x-request-id"])
                again = post(stage.api.url, stage.acme.key_text, sent, **key)
                assert again.content == answer.content
            else:
                assert answer.status_code in (400, 404), body
                assert error_of(answer)["type"] == "invalid_request_error"

    held = Hold.objects.filter(org_id=stage.acme.org.pk, state="held")
    wait_for(lambda: not held.exists(), what="every hold's end")
    charged = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    assert set(charged.values_list("request_id", flat=True)) == billed
    assert len(billed) >= 20
    assert_proven(stage.stores.database_url, stage.journals)

"""The wire contract of messages and of their count, on live paths: what is taken, what is refused.

Whatever is said of a message is said of its count, which costs nothing.
"""

from typing import Any

import pytest
import requests

from billing.budgets import create_budget
from billing.models import Hold, UsageEvent
from tests.calls import HELLO, post, wait_for
from tests.factories import make_tenant
from tests.gateway.dialects.anthropic_asking import CALL, RESULT, WEATHER
from tests.stage import Stage

MESSAGES = "/anthropic/v1/messages"
COUNT = f"{MESSAGES}/count_tokens"
TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
}
PICTURE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PDF = {
    "type": "document",
    "title": "bill.pdf",
    "context": "An old bill.",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
}
PAPER = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
NOTES = {
    "type": "document",
    "title": "Notes",
    "source": {"type": "text", "media_type": "text/plain", "data": "Buy milk."},
}
MADE = {"type": "document", "source": {"type": "content", "content": [TEXT, IMAGE]}}
CALLING = {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}, CALL]}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def ask(stage: Stage, body: Any, path: str = MESSAGES, **headers: str) -> requests.Response:
    return post(stage.api.url, stage.acme.key_text, body, path=path, **headers)


def body_of(**fields: Any) -> dict[str, Any]:
    return {"model": "hacxgpt", "max_tokens": 64, "messages": HELLO, **fields}


def user(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def answered(*content: Any, **fields: Any) -> list[dict[str, Any]]:
    result = {**RESULT, "content": list(content), **fields}
    return [*HELLO, CALLING, {"role": "user", "content": [result]}]


def assert_nothing_moved(stage: Stage) -> None:
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "messages: at least one message is required"),
    "no content": (
        {"messages": [{"role": "user", "content": ""}]},
        "messages.0.content: content must not be empty",
    ),
    "no blocks": (
        {"messages": user()},
        "messages.0.content: content must have at least one block",
    ),
    "an empty text": (
        {"messages": user({"type": "text", "text": ""})},
        "messages.0.content.0.text: text content blocks must be non-empty",
    ),
    "a part of the other dialect": (
        {"messages": user({"type": "image_url", "image_url": {"url": "https://a.example/"}})},
        (
            "messages.0.content.0.type: Input tag 'image_url' does not match any of: 'text', "
            "'image', 'document', 'tool_result'"
        ),
    ),
    "a file": (
        {"messages": user({"type": "document", "source": {"type": "file", "file_id": "f"}})},
        "messages.0.content.0.source.type: Files by their id are not supported by this server",
    ),
    "a private address": (
        {"messages": user({"type": "image", "source": {"type": "url", "url": "http://[::1]/"}})},
        "messages.0.content.0.source.url: Input should be a publicly accessible http(s) address",
    ),
    "a call without its result": (
        {"messages": [*HELLO, CALLING, *HELLO]},
        (
            "messages.1.content.1: the `tool_use` 'toolu_1' needs a `tool_result` block in the "
            "message right after it"
        ),
    ),
    "a result of no call": (
        {"messages": user(RESULT)},
        (
            "messages.0.content.0.tool_use_id: 'toolu_1' is not the id of a 'tool_use' block in "
            "the message before that still waits for its 'tool_result'"
        ),
    ),
    "too warm": ({"temperature": 1.1}, "temperature: Input should be between 0 and 1"),
    "too wide": ({"top_p": 1.1}, "top_p: Input should be between 0 and 1"),
    "below the top": ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    "one stop sequence": (
        {"stop_sequences": "x"},
        "stop_sequences: Input should be a valid array",
    ),
    "a server's tool": (
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "tools.0.type: The server tool 'web_search_20250305' is not supported by this server",
    ),
    "a choice by its name alone": (
        {"tools": [WEATHER], "tool_choice": "auto"},
        "tool_choice: Input should be an object",
    ),
    "any tool of none": (
        {"tools": [], "tool_choice": {"type": "any"}},
        "tool_choice: may only demand a tool while `tools` are given",
    ),
    "a limit that is none": (
        {"max_tokens": 0},
        "max_tokens: Input should be greater than or equal to 1",
    ),
    "a limit beyond the model's": (
        {"max_tokens": 8_193},
        (
            "max_tokens: 8193 > 8192, which is the maximum allowed number of output tokens for "
            "hacxgpt"
        ),
    ),
    "too little to think": (
        {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1023}},
        "thinking.budget_tokens: Input should be greater than or equal to 1024",
    ),
    "a form of the other dialect": (
        {"output_config": {"format": {"type": "json_object"}}},
        "output_config.format.type: Input should be one of 'json_schema', not 'json_object'",
    ),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("path", [MESSAGES, COUNT])
def test_what_is_wrong_is_refused_by_its_path_and_nothing_moves(
    stage: Stage, path: str, fields: Any, message: str
) -> None:
    answer = ask(stage, body_of(**fields), path)

    assert answer.status_code == 400
    assert answer.json() == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
        "request_id": answer.headers["request-id"],
    }
    assert_nothing_moved(stage)


def test_without_a_limit_a_message_is_refused_and_a_count_answered(stage: Stage) -> None:
    body = {"model": "hacxgpt", "messages": HELLO}

    refused, counted = ask(stage, body), ask(stage, body, COUNT)

    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "max_tokens: Field required"
    assert (counted.status_code, counted.json()) == (200, {"input_tokens": 3 + 4 + 1})
    assert_nothing_moved(stage)


@pytest.mark.parametrize("path", [MESSAGES, COUNT])
def test_an_unknown_model_is_404_and_named(stage: Stage, path: str) -> None:
    answer = ask(stage, body_of(model="no/such"), path)

    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert "no/such" in answer.json()["error"]["message"]
    assert_nothing_moved(stage)


TAKEN: dict[str, dict[str, Any]] = {
    "text": {"messages": user({**TEXT, "cache_control": {"type": "ephemeral"}, "citations": []})},
    "system": {"system": [{**TEXT, "cache_control": {"type": "ephemeral", "ttl": "5m"}}]},
    "system between": {"messages": [*HELLO, {"role": "system", "content": "Be brief."}, *HELLO]},
    "neighbours": {"messages": [*HELLO, *HELLO]},
    "begun": {"messages": [*HELLO, {"role": "assistant", "content": "It is"}]},
    "begun with nothing": {"messages": [*HELLO, {"role": "assistant", "content": ""}]},
    "image": {"messages": user(TEXT, IMAGE)},
    "image by address": {"messages": user(PICTURE, TEXT)},
    "document": {"messages": user(PDF, TEXT)},
    "document by address": {"messages": user(PAPER, TEXT)},
    "document of text": {"messages": user(NOTES)},
    "document of blocks": {"messages": user(MADE)},
    "result": {"tools": [WEATHER], "messages": answered(TEXT)},
    "result of everything": {"messages": answered(TEXT, IMAGE, PICTURE, PDF, PAPER, NOTES, MADE)},
    "result that is an error": {"messages": answered(TEXT, is_error=True)},
    "result of nothing": {"messages": answered()},
    "thinking": {
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "redacted_thinking", "data": "d"},
                    {"type": "text", "text": "Hello!"},
                ],
            },
            *HELLO,
        ]
    },
    "tools": {"tools": [{**WEATHER, "type": "custom", "strict": True}]},
    "a demanded tool": {"tools": [WEATHER], "tool_choice": {"type": "any"}},
    "no tool": {"tools": [WEATHER], "tool_choice": {"type": "none"}},
    "no tools": {"tools": []},
    "a form": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "thinking aloud": {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "thinking as it likes": {"thinking": {"type": "adaptive"}},
    "thinking between tools": {"thinking": {"type": "between_tools"}},
    "no thinking": {"thinking": {"type": "disabled"}},
    "the official rest": {
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "cache_control": {"type": "ephemeral"},
        "container": "c",
        "diagnostics": {"previous_message_id": None},
        "inference_geo": "eu",
        "speed": "fast",
        "stop_sequences": ["STOP"],
        "of_tomorrow": {"x": [1]},
    },
}


@pytest.mark.parametrize("fields", TAKEN.values(), ids=TAKEN)
def test_what_is_taken_is_counted_for_free_and_billed_at_its_count(
    stage: Stage, fields: Any
) -> None:
    body = body_of(**fields)
    counted = ask(stage, {name: body[name] for name in body if name != "max_tokens"}, COUNT)
    assert_nothing_moved(stage)

    answer = ask(stage, body)

    assert (counted.status_code, answer.status_code) == (200, 200), answer.text
    tokens = answer.json()["usage"]["input_tokens"]
    assert counted.json() == {"input_tokens": tokens}
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    assert event.input == tokens


def test_a_count_needs_neither_credit_nor_budget(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0")
    create_budget(org=poor.org, limit_nanos=1, period="day", actor="test")

    answer = post(stage.api.url, poor.key_text, body_of(), path=COUNT)

    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 8})
    assert not UsageEvent.objects.filter(org_id=poor.org.pk).exists()
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21", "2099-01-01"])
@pytest.mark.parametrize("streamed", [False, True])
def test_how_tokens_are_drawn_may_be_said_under_every_version(
    stage: Stage, version: str | None, *, streamed: bool
) -> None:
    headers = {} if version is None else {"anthropic-version": version}

    answers = [
        ask(stage, body_of(stream=streamed, **drawn), **headers)
        for drawn in (
            {"temperature": 0, "top_p": 0, "top_k": 0},
            {"temperature": 1, "top_p": 1, "top_k": 40},
        )
    ]

    assert [answer.status_code for answer in answers] == [200, 200]

"""How the limit of an answer is called at OpenAI-like servers, byte for byte of its meaning."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.catalog import Deployment
from gateway.dialects.openai.outgoing import render_request
from gateway.providers import anthropic
from gateway.providers.openai import find_limit_field, render_body
from tests.gateway.dialects import anthropic_asking, asking

OLD, NEW = "max_tokens", "max_completion_tokens"
HELLO = [{"role": "user", "content": "Hello"}]
ACME = Deployment(1, "acme", "openai", "https://llm.acme.example/v1", None, 1, 1, 1, 1, "up-1")
OPENAI = replace(ACME, base_url="https://api.openai.com/v1")
ALIKE = replace(ACME, base_url="https://api.openai.com.example/v1")


@pytest.mark.parametrize(
    ("deployment", "name"),
    [
        (OPENAI, NEW),
        (ACME, ""),
        (ALIKE, ""),
        (replace(ACME, limit_field=NEW), NEW),
        (replace(OPENAI, limit_field=OLD), OLD),
    ],
)
def test_openai_knows_the_new_name_and_an_operator_knows_best(
    deployment: Deployment, name: str
) -> None:
    assert find_limit_field(deployment) == name


@pytest.mark.parametrize(
    ("asked", "limit_field", "sent"),
    [
        ({}, "", {OLD: asking.MAX_OUTPUT}),
        ({}, NEW, {NEW: asking.MAX_OUTPUT}),
        ({OLD: 7}, "", {OLD: 7}),
        ({NEW: 7}, "", {NEW: 7}),
        ({OLD: 7, NEW: 7}, "", {NEW: 7}),
        ({OLD: 7}, NEW, {NEW: 7}),
        ({NEW: 7}, OLD, {OLD: 7}),
        ({OLD: None, NEW: 7}, OLD, {OLD: 7}),
    ],
)
def test_a_callers_body_goes_on_with_its_limit_under_the_right_name(
    asked: Any, limit_field: str, sent: Any
) -> None:
    request = asking.ask(temperature=1, **asked)

    body = orjson.loads(render_body(request, "up-1", asking.MAX_OUTPUT, limit_field))

    assert body == {"model": "up-1", "messages": HELLO, "temperature": 1, **sent}


def test_a_limit_beyond_the_context_is_sent_as_what_is_held_for() -> None:
    body = orjson.dumps({"model": "hacxgpt", "messages": HELLO, OLD: 4_000})
    request = asking.check_body(body, context_tokens=1_000)

    assert request.max_tokens == 1_000 - (3 + 4 + 1)
    assert orjson.loads(render_body(request, "up-1", 8_192))[OLD] == request.max_tokens
    request = anthropic_asking.check_body(body, context_tokens=1_000)
    assert orjson.loads(anthropic.render_body(request, ACME)) == {
        "model": "up-1",
        "messages": HELLO,
        OLD: 1_000 - (3 + 4 + 1),
    }


@pytest.mark.parametrize(
    ("effort", "limit_field", "sent"),
    [
        (None, "", {OLD: 1024}),
        (None, NEW, {NEW: 1024}),
        ("high", "", {NEW: 1024, "reasoning_effort": "high"}),
        ("high", OLD, {OLD: 1024, "reasoning_effort": "high"}),
    ],
)
def test_a_translated_body_has_its_limit_under_the_right_name(
    effort: str | None, limit_field: str, sent: Any
) -> None:
    request = anthropic_asking.ask(output_config={"effort": effort})

    assert orjson.loads(render_request(request, "up-1", 8_192, limit_field)) == {
        "model": "up-1",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
        **sent,
    }

"""Asking the Anthropic dialect: one short conversation, and the fields a test is about."""

from typing import Any

import orjson
import pytest

from gateway.chat import ChatRequest
from gateway.dialects.anthropic import COUNTING, DIALECT
from kernel.errors import BadRequestError

MAX_OUTPUT = 4_096
CONTEXT = 128_000
HELLO = {"role": "user", "content": "Hello"}
WEATHER = {
    "name": "get_weather",
    "description": "Get current weather",
    "input_schema": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"location": "Oslo"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "15 degrees"}


def check_body(body: bytes, context_tokens: int = CONTEXT) -> ChatRequest:
    """Read and check a body as the pipeline does, in both steps."""
    return DIALECT.check_request(
        DIALECT.read_body(body), max_output_tokens=MAX_OUTPUT, context_tokens=context_tokens
    )


def ask(text: str = "Hello", **fields: Any) -> ChatRequest:
    """Return the checked request of a short conversation with these fields."""
    body = {
        "model": "hacxgpt",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    return check_body(orjson.dumps(body))


def count(**fields: Any) -> ChatRequest:
    """Return the request of a count, which needs no limit."""
    body = orjson.dumps({"model": "hacxgpt", "messages": [HELLO], **fields})
    return COUNTING.check_request(
        COUNTING.read_body(body), max_output_tokens=MAX_OUTPUT, context_tokens=CONTEXT
    )


def refusal_of(**fields: Any) -> str:
    """Return the message of the refusal these fields meet, as its caller reads it."""
    with pytest.raises(BadRequestError) as caught:
        ask(**fields)
    return message_of(caught.value)


def message_of(error: BadRequestError) -> str:
    body = orjson.loads(DIALECT.render_error(error, "req_1"))
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    message: str = body["error"]["message"]
    return message

"""Asking the OpenAI dialect: one short conversation, and the fields a test is about."""

from typing import Any

import orjson
import pytest

from gateway.chat import ChatRequest
from gateway.dialects.openai import DIALECT
from kernel.errors import BadRequestError

MAX_OUTPUT = 4_096
CONTEXT = 128_000
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
        },
    },
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"location":"Oslo"}'},
}


def check_body(body: bytes, context_tokens: int = CONTEXT) -> ChatRequest:
    """Read and check a body as the pipeline does, in both steps."""
    return DIALECT.check_request(
        DIALECT.read_body(body), max_output_tokens=MAX_OUTPUT, context_tokens=context_tokens
    )


def ask(text: str = "Hello", **fields: Any) -> ChatRequest:
    """Return the checked request of a short conversation with these fields."""
    body = {"model": "hacxgpt", "messages": [{"role": "user", "content": text}], **fields}
    return check_body(orjson.dumps(body))


def refusal_of(**fields: Any) -> tuple[str | None, str | None]:
    """Return code and param of the refusal these fields meet."""
    with pytest.raises(BadRequestError) as caught:
        ask(**fields)
    return caught.value.code, caught.value.param

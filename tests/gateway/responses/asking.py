"""Asking the responses dialect: one short input, and the fields a test is about."""

from typing import Any

import orjson

from gateway.chat import ChatRequest
from gateway.dialects.responses import DIALECT

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get current weather",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
    "strict": None,
}
MAX_OUTPUT = 4_096


def ask(sent: Any = "Hello", *, context_tokens: int = 128_000, **fields: Any) -> ChatRequest:
    """Return the checked request of an input with these fields."""
    body = orjson.dumps({"model": "hacxgpt", "input": sent, **fields})
    return DIALECT.check_request(
        DIALECT.read_body(body), max_output_tokens=MAX_OUTPUT, context_tokens=context_tokens
    )

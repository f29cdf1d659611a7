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
NOT_PUBLIC = [
    "ftp://example.com/a.png", "file:///etc/passwd", "javascript:1", "", "example.com/a.png",
    "https://", "https:///a.png", "http://localhost/a", "http://a.localhost/a",
    "http://127.0.0.1/a", "http://127.1/a", "http://2130706433/a", "http://0x7f.0.0.1/a",
    "http://10.0.0.7/a", "http://192.168.1.1/a", "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/a", "http://0.0.0.0/a", "http://224.0.0.1/a", "http://[::1]/a",
    "http://[::ffff:127.0.0.1]/a", "http://[fe80::1]/a", "http://[fc00::1]/a",
    "http://[64:ff9b::7f00:1]/a", "http://[2002:7f00:1::]/a", "http://[::]/a",
    "http://１２７.0.0.1/a", "http://127%2e0%2e0%2e1/a", "http://exa mple.com/a",
    "http://example.com\\@127.0.0.1/a", "http://example.com:99999/a", "http://db.internal/a",
    "http://metadata/computeMetadata/v1/", "http://metadata./a", "http://redis:6379/",
]  # fmt: skip


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

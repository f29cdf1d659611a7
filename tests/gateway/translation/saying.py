"""A request as a provider of the other dialect would be asked it."""

from typing import Any

import orjson
import pytest

from gateway.chat import ChatRequest
from gateway.dialects.anthropic import outgoing as to_anthropic
from gateway.dialects.openai import outgoing as to_openai
from kernel.errors import BadRequestError
from tests.gateway.dialects import anthropic_asking, asking

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
HELLO = {"role": "user", "content": "Hello"}
ANTHROPIC_WEATHER = anthropic_asking.WEATHER


def anthropic_body(**fields: Any) -> Any:
    """Return what an Anthropic upstream is sent for an OpenAI request."""
    return sent(to_anthropic.render_request(asking.ask(**fields), "up-1", 8_192))


def openai_body(**fields: Any) -> Any:
    """Return what an OpenAI upstream is sent for an Anthropic request."""
    return sent(to_openai.render_request(anthropic_asking.ask(**fields), "up-1", 8_192))


def sent(body: bytes) -> Any:
    return orjson.loads(body)


def refused(render: Any, request: ChatRequest) -> str | None:
    with pytest.raises(BadRequestError) as caught:
        render(request, "up-1", 8_192)
    return caught.value.param

"""From a body to a checked request, in two steps, because the model is looked up in between.

1. ``read_body``: JSON object → model given → messages there and not empty.
2. ``check_request``: every parameter, then every message, then what depends on the model.

The parsed body is the only one there is from here on: of duplicate keys the last has won, and what
is checked is what is billed, routed and sent on.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from gateway.chat import ChatRequest
from gateway.dialects.base import Envelope
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import missing, refusal
from gateway.dialects.openai.messages import parse_messages
from gateway.dialects.openai.parameters import check_parameters
from gateway.dialects.openai.tools import parse_format, parse_tools
from gateway.tokenizer import (
    MESSAGE_TOKENS,
    count_prompt,
    prompt_lower_bound,
    prompt_upper_bound,
)
from kernel.errors import BadRequestError

# orjson reads deeper than it writes: what we take, we must be able to hand on.
_DEPTH_THAT_CAN_BE_WRITTEN = 250
# Work grows with objects and arrays, not with bytes: so many take about half a second to check.
MOST_CONTAINERS = 200_000


def read_body(body: bytes) -> Envelope:
    """Read a body as far as its model and the presence of messages.

    orjson refuses what JSON does not know: NaN, Infinity, 1e400, lone surrogates, UTF-16, a byte
    order mark, invalid UTF-8, trailing text.

    Raises:
        BadRequestError: no JSON object, no model, no messages.

    """
    containers = body.count(b"{") + body.count(b"[")
    if containers > MOST_CONTAINERS:
        raise refusal(
            None, f"The body of your request has over {MOST_CONTAINERS} objects and arrays."
        )
    try:
        wire = orjson.loads(body)
    except ValueError as error:
        raise refusal(None, "We could not parse the body of your request as JSON.") from error
    if type(wire) is not dict:
        raise refusal(None, "The body of your request must be a JSON object.", "invalid_type")
    if containers > _DEPTH_THAT_CAN_BE_WRITTEN:
        _check_depth(wire)
    model = wire.get("model")
    if model is None or model == "":
        raise refusal("model", "You must specify a model to call", "missing_required_parameter")
    fields.string("model", model)
    messages = wire.get("messages")
    if messages is None:
        raise missing("messages")
    fields.array("messages", messages)
    if not messages:
        raise refusal("messages", "Messages array cannot be empty", "empty_array")
    return Envelope(model, wire)


def _check_depth(wire: dict[str, Any]) -> None:
    try:
        orjson.dumps(wire)
    except TypeError as error:
        raise refusal(None, "The body of your request is nested too deeply.") from error


def check_request(
    envelope: Envelope, *, max_output_tokens: int, context_tokens: int
) -> ChatRequest:
    """Check everything else and return the request.

    Raises:
        BadRequestError: with the field's path and the contract's code.

    """
    wire = envelope.wire
    check_parameters(wire)
    is_streamed = wire.get("stream") is True
    options = wire.get("stream_options")
    if options is not None and not is_streamed:
        raise refusal(
            "stream_options", "'stream_options' is only allowed when 'stream' is enabled."
        )
    if wire.get("top_logprobs") is not None:
        raise refusal("top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true.")
    if len(wire["messages"]) * MESSAGE_TOKENS >= context_tokens:
        raise _too_long(f"more than {context_tokens}", context_tokens)
    output_limit = _output_limit(wire, max_output_tokens)
    tools = parse_tools(wire)
    request = ChatRequest(
        envelope.model,
        parse_messages(wire["messages"]),
        wire,
        is_streamed,
        options is not None and options.get("include_usage") is True,
        output_limit,
        _or(wire.get("n"), 1),
        _stops(wire.get("stop")),
        wire.get("seed"),
        wire.get("temperature"),
        tools.callable,
        tools.defined,
        tools.mode,
        wire.get("parallel_tool_calls") is not False,
        parse_format(wire.get("response_format")),
    )
    room = _room(request, output_limit, context_tokens)
    return request if room >= output_limit else replace(request, max_tokens=room)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if type(stop) is str else tuple(stop)


def _output_limit(wire: Mapping[str, Any], max_output_tokens: int) -> int:
    new: Any
    old: Any
    new, old = wire.get("max_completion_tokens"), wire.get("max_tokens")
    if new is None and old is None:
        return max_output_tokens
    if new is not None and old is not None and new != old:
        raise refusal(
            "max_tokens", "'max_tokens' and 'max_completion_tokens' are given and differ; give one."
        )
    param, limit = ("max_tokens", old) if new is None else ("max_completion_tokens", new)
    fields.integer(1, max_output_tokens)(param, limit)
    checked: int = limit
    return checked


def _room(request: ChatRequest, output_limit: int, context_tokens: int) -> int:
    """Return how many tokens of answer the context has room for, at least, beside the prompt.

    Lengths decide almost always; tokens are counted only near the limit.
    """
    if prompt_upper_bound(request) + output_limit <= context_tokens:
        return output_limit
    if prompt_lower_bound(request) >= context_tokens:
        raise _too_long(f"more than {context_tokens}", context_tokens)
    room = context_tokens - count_prompt(request)
    if room < 1:
        raise _too_long(str(context_tokens - room), context_tokens)
    return room


def _too_long(tokens: str, context_tokens: int) -> BadRequestError:
    return refusal(
        "messages",
        f"This model's maximum context length is {context_tokens} tokens. "
        f"However, your messages resulted in {tokens} tokens. Please reduce their length.",
        "context_length_exceeded",
    )

"""From a body to a checked request, in two steps, because the model is looked up in between.

1. ``read_body``: JSON object → model given → messages there and not empty.
2. ``check_request``: every parameter, then every message, then what depends on the model.

The parsed body is the only one there is from here on: of duplicate keys the last has won, and what
is checked is what is billed, routed and sent on.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gateway.chat import ChatRequest
from gateway.dialects.base import Envelope
from gateway.dialects.bodies import MOST_MODELS, PromptTooLongError, find_room, parse_body
from gateway.dialects.openai import fields
from gateway.dialects.openai.extras import find_extras
from gateway.dialects.openai.fields import missing, refusal
from gateway.dialects.openai.functions import has_functions, parse_functions
from gateway.dialects.openai.messages import parse_messages
from gateway.dialects.openai.parameters import check_parameters
from gateway.dialects.openai.tools import parse_format, parse_tools
from gateway.tokenizer import MESSAGE_TOKENS
from kernel.errors import BadRequestError

EFFORTS: Mapping[str, str] = MappingProxyType(
    {effort: effort for effort in ("none", "low", "medium", "high", "xhigh", "max")}
    | {"minimal": "low"}
)
# Odds of a token, over all choices: each is a hundred bytes of answer.
MOST_ODDS = 256
WITHOUT_THINKING = (None, "none", "minimal")


def read_body(body: bytes) -> Envelope:
    """Read a body as far as its model and the presence of messages.

    Raises:
        BadRequestError: no JSON object, no model, no messages.

    """
    wire = parse_body(body)
    model, *fallbacks = read_models(wire)
    messages = wire.get("messages")
    if messages is None:
        raise missing("messages")
    fields.array("messages", messages)
    if not messages:
        raise refusal("messages", "Messages array cannot be empty", "empty_array")
    return Envelope(model, wire, tuple(fallbacks))


def read_models(wire: dict[str, Any]) -> tuple[str, ...]:
    """Return ``model``, where it is given, and then those of ``models``, each once.

    The list is taken out of the body: an upstream is asked for one model, and must not fall back
    by itself.

    Raises:
        BadRequestError: for no model at all, or too many.

    """
    listed = wire.pop("models", None)
    if listed is None:
        return (read_model(wire),)
    fields.array("models", listed)
    for place, name in enumerate(listed):
        fields.string(f"models[{place}]", name)
        if not name:
            raise refusal(f"models[{place}]", f"'models[{place}]' must not be empty.")
    has_first = not listed or wire.get("model") not in (None, "")
    first = (read_model(wire),) if has_first else ()
    names = tuple(dict.fromkeys((*first, *listed)))
    if len(names) > MOST_MODELS:
        why = f"At most {MOST_MODELS} different models can be given."
        raise refusal("models", why, "array_above_max_length")
    return names


def read_model(wire: Mapping[str, Any]) -> str:
    """Return the model that a body asks for.

    Raises:
        BadRequestError: for none.

    """
    model: Any = wire.get("model")
    if model is None or model == "":
        raise refusal("model", "You must specify a model to call", "missing_required_parameter")
    fields.string("model", model)
    name: str = model
    return name


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
    if len(wire["messages"]) * MESSAGE_TOKENS >= context_tokens:
        raise _too_long(None, context_tokens)
    output_limit = _output_limit(wire, max_output_tokens)
    is_legacy = has_functions(wire)
    old, new = parse_functions(wire), parse_tools(wire)
    tools = old if is_legacy else new
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
        wire.get("parallel_tool_calls") is not False and not is_legacy,
        parse_format(wire.get("response_format")),
        top_p=wire.get("top_p"),
        top_k=_top_k(wire.get("top_k")),
        user=wire.get("safety_identifier") or wire.get("user"),
        effort=EFFORTS.get(wire.get("reasoning_effort") or ""),
        is_thinking=wire.get("reasoning_effort") not in WITHOUT_THINKING,
        top_logprobs=_top_logprobs(wire),
        extras=find_extras(wire),
    )
    return _fit(request, output_limit, context_tokens)


def _fit(request: ChatRequest, limit: int, context_tokens: int) -> ChatRequest:
    try:
        room = find_room(request, limit, context_tokens)
    except PromptTooLongError as error:
        raise _too_long(error.tokens, context_tokens) from error
    return request if room == limit else replace(request, max_tokens=room)


def _top_k(value: int | None) -> int | None:
    """Return how many tokens are drawn from; 0 and -1 say all of them."""
    return value if value is not None and value > 0 else None


def _top_logprobs(wire: Mapping[str, Any]) -> int | None:
    """Return how many other tokens are wanted beside each, None where no odds are."""
    top = wire.get("top_logprobs")
    if wire.get("logprobs") is not True:
        if top is not None:
            raise refusal("top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true.")
        return None
    wanted = _or(top, 0)
    choices = _or(wire.get("n"), 1)
    if choices * (1 + wanted) > MOST_ODDS:
        raise refusal(
            "n",
            f"With {wanted} 'top_logprobs', 'n' can be at most {MOST_ODDS // (1 + wanted)}.",
            "integer_above_max_value",
        )
    return wanted


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


def _too_long(tokens: int | None, context_tokens: int) -> BadRequestError:
    shown = f"more than {context_tokens}" if tokens is None else tokens
    return refusal(
        "messages",
        f"This model's maximum context length is {context_tokens} tokens. "
        f"However, your messages resulted in {shown} tokens. Please reduce their length.",
        "context_length_exceeded",
    )

"""From a body to a checked request, in two steps, because the model is looked up in between.

1. ``read_body``: JSON object → model given → messages there and not empty.
2. ``check_request``: every parameter, then every message, then what depends on the model.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gateway.chat import ChatRequest
from gateway.dialects.anthropic import fields
from gateway.dialects.anthropic.blocks import check_cache_control
from gateway.dialects.anthropic.errors import NO_THREADS
from gateway.dialects.anthropic.extras import find_extras
from gateway.dialects.anthropic.fields import Check, refusal
from gateway.dialects.anthropic.messages import parse_messages, parse_system
from gateway.dialects.anthropic.tools import parse_output, parse_tools
from gateway.dialects.base import Envelope
from gateway.dialects.bodies import MOST_MODELS, PromptTooLongError, find_room, parse_body
from gateway.dialects.schemas import OBJECT, STRING, array_of, nullable, object_of, schema_of, takes
from kernel.errors import BadRequestError

LEAST_BUDGET = 1024
MOST_STOPS = 100
MOST_STOP_LENGTH = 1024
_STOP = fields.limited_string(MOST_STOP_LENGTH)
_USER_ID = fields.limited_string(512)
_MEDIUM_BUDGET = 4096
_HIGH_BUDGET = 16_384
THINKING = fields.one_of("enabled", "adaptive", "between_tools", "disabled")
BUDGET = fields.integer(LEAST_BUDGET)


def read_body(body: bytes) -> Envelope:
    """Read a body as far as its model and the presence of messages.

    Raises:
        BadRequestError: no JSON object, no model, a thread, no messages.

    """
    wire = parse_body(body)
    model, *fallbacks = _read_models(wire)
    if wire.get("thread") is not None:
        raise BadRequestError(
            "Conversations are not stored here: send all messages, and no `thread`.",
            code=NO_THREADS,
            param="thread",
        )
    messages = fields.required(wire, "messages", "", fields.array)
    if not messages:
        raise refusal("messages", "at least one message is required")
    return Envelope(model, wire, tuple(fallbacks))


def _read_models(wire: dict[str, Any]) -> tuple[str, ...]:
    """Return ``model``, where it is given, and then those of ``models``, each once.

    Anthropic has no such list, so it is taken out of the body.
    """
    listed: list[str] = fields.optional(wire, "models", "", fields.array) or []
    wire.pop("models", None)
    for place, name in enumerate(listed):
        _check_model(f"models.{place}", name)
    if "model" in wire or not listed:
        listed = [fields.required(wire, "model", "", _check_model), *listed]
    names = tuple(dict.fromkeys(listed))
    if len(names) > MOST_MODELS:
        raise refusal("models", f"List should name at most {MOST_MODELS} different models")
    return names


def _check_model(path: str, value: Any) -> None:
    fields.string(path, value)
    if not value:
        raise refusal(path, "String should have at least 1 character")


def check_request(
    envelope: Envelope, *, max_output_tokens: int, context_tokens: int, needs_limit: bool = True
) -> ChatRequest:
    """Check everything else and return the request; counting tokens needs no ``max_tokens``.

    Raises:
        BadRequestError: with the field's path.

    """
    wire = envelope.wire
    limit = _output_limit(wire, envelope.model, max_output_tokens, needs_limit=needs_limit)
    for name, value in wire.items():
        check = PARAMETERS.get(name)
        if check is not None and value is not None:
            check(name, value)
    check_cache_control(wire, "")
    thinking = wire.get("thinking")
    _check_thinking(thinking, limit if needs_limit else None)
    tools = parse_tools(wire)
    output = parse_output(wire)
    request = ChatRequest(
        envelope.model,
        (*parse_system(wire.get("system")), *parse_messages(wire["messages"])),
        wire,
        stream=wire.get("stream") is True,
        max_tokens=limit,
        stop=tuple(wire.get("stop_sequences") or ()),
        temperature=wire.get("temperature"),
        tools=tools.callable,
        defined_tools=tools.defined,
        tool_mode=tools.mode,
        parallel_tool_calls=tools.are_parallel,
        response_format=output.format,
        top_p=wire.get("top_p"),
        top_k=wire.get("top_k"),
        user=(wire.get("metadata") or {}).get("user_id"),
        effort=output.effort or _effort(thinking),
        is_thinking=thinking is not None and thinking["type"] != "disabled",
        dialect="anthropic",
        call_prefix="toolu_",
        extras=find_extras(wire),
    )
    try:
        room = find_room(request, limit, context_tokens)
    except PromptTooLongError as error:
        raise _too_long(error.tokens, context_tokens) from error
    return request if room == limit else replace(request, max_tokens=room)


def _output_limit(
    wire: Mapping[str, Any], model: str, max_output_tokens: int, *, needs_limit: bool
) -> int:
    if not needs_limit and wire.get("max_tokens") is None:
        return 1
    limit: int = fields.required(wire, "max_tokens", "", fields.integer(1))
    if limit > max_output_tokens:
        raise refusal(
            "max_tokens",
            f"{limit} > {max_output_tokens}, which is the maximum allowed number of output tokens "
            f"for {fields.shown(model)}",
        )
    return limit


def _check_thinking(thinking: Mapping[str, Any] | None, limit: int | None) -> None:
    if thinking is None:
        return
    kind = fields.required(thinking, "type", "thinking", THINKING)
    if kind != "enabled":
        return
    budget = fields.required(thinking, "budget_tokens", "thinking", BUDGET)
    if limit is not None and budget >= limit:
        raise refusal("thinking.budget_tokens", "`max_tokens` must be greater than this budget")


def _effort(thinking: Mapping[str, Any] | None) -> str | None:
    """Say in words what a budget of thinking asks for; adaptive thinking leaves it open.

    So does disabled thinking, which is what nobody has to say here: OpenAI's older models refuse to
    be told, and the newer ones do not think unless they are.
    """
    if thinking is None or thinking["type"] != "enabled":
        return None
    budget = thinking["budget_tokens"]
    if budget < _MEDIUM_BUDGET:
        return "low"
    return "medium" if budget < _HIGH_BUDGET else "high"


@takes(array_of({"type": "string", "minLength": 1, "maxLength": MOST_STOP_LENGTH}, most=MOST_STOPS))
def _check_stops(path: str, value: Any) -> None:
    fields.array(path, value)
    if len(value) > MOST_STOPS:
        raise refusal(path, f"List should have at most {MOST_STOPS} strings")
    for place, stop in enumerate(value):
        _STOP(f"{path}.{place}", stop)
        if not stop:
            raise refusal(f"{path}.{place}", "each stop sequence must be non-empty")


@takes(object_of({}, {"user_id": nullable(schema_of(_USER_ID))}))
def _check_metadata(path: str, value: Any) -> None:
    fields.mapping(path, value)
    fields.optional(value, "user_id", path, _USER_ID)


@takes({"anyOf": [STRING, OBJECT]})
def _check_container(path: str, value: Any) -> None:
    if type(value) is not dict:
        fields.string(path, value)


def _too_long(tokens: int | None, context_tokens: int) -> BadRequestError:
    shown = f"more than {context_tokens}" if tokens is None else tokens
    return BadRequestError(
        f"prompt is too long: {shown} tokens > {context_tokens} maximum",
        code="context_length_exceeded",
    )


# Every field that can be checked by itself. Others are not looked at.
PARAMETERS: Mapping[str, Check] = MappingProxyType(
    {
        "temperature": fields.decimal(0, 1),
        "top_p": fields.decimal(0, 1),
        "top_k": fields.integer(0),
        "stop_sequences": _check_stops,
        "stream": fields.boolean,
        "thinking": fields.mapping,
        "metadata": _check_metadata,
        "service_tier": fields.one_of("auto", "standard_only"),
        "container": _check_container,
        "diagnostics": fields.mapping,
        "inference_geo": fields.string,
        "speed": fields.one_of("standard", "fast"),
    }
)

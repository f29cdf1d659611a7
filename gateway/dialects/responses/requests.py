"""From a body to a checked request: parameters, then the input, then what depends on the model."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gateway.chat import PLAIN_TEXT, ChatRequest, FormatKind, Message, ResponseFormat
from gateway.dialects.base import Envelope
from gateway.dialects.bodies import PromptTooLongError, find_room, parse_body
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import Check, missing, refusal
from gateway.dialects.openai.parameters import check_metadata
from gateway.dialects.openai.requests import EFFORTS, WITHOUT_THINKING, read_models
from gateway.dialects.openai.tools import parse_schema_format
from gateway.dialects.responses.extras import find_extras
from gateway.dialects.responses.inputs import parse_input
from gateway.dialects.responses.tools import parse_tools
from gateway.dialects.schemas import NULL, STRING, array_of, nullable, object_of, schema_of, takes

_EFFORT = fields.one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
_FORMAT = fields.one_of("text", "json_object", "json_schema")
VERBOSITY = fields.one_of("low", "medium", "high")


def read_body(body: bytes) -> Envelope:
    """Read a body as far as its model and the presence of an input.

    Raises:
        BadRequestError: no JSON object, no model, no input.

    """
    wire = parse_body(body)
    model, *fallbacks = read_models(wire)
    if wire.get("input") is None:
        raise missing("input")
    return Envelope(model, wire, tuple(fallbacks))


def check_request(
    envelope: Envelope, *, max_output_tokens: int, context_tokens: int
) -> ChatRequest:
    """Check everything else and return the request.

    Raises:
        BadRequestError: with the field's path and the contract's code.

    """
    wire = envelope.wire
    for name, value in wire.items():
        check = PARAMETERS.get(name)
        if check is not None and value is not None:
            check(name, value)
    limit = wire.get("max_output_tokens")
    if limit is not None:
        fields.integer(1, max_output_tokens)("max_output_tokens", limit)
    tools = parse_tools(wire)
    effort = (wire.get("reasoning") or {}).get("effort")
    request = ChatRequest(
        envelope.model,
        _parse_messages(wire),
        wire,
        stream=wire.get("stream") is True,
        max_tokens=limit or max_output_tokens,
        temperature=wire.get("temperature"),
        tools=tools.callable,
        defined_tools=tools.defined,
        tool_mode=tools.mode,
        parallel_tool_calls=wire.get("parallel_tool_calls") is not False,
        response_format=_parse_format(wire.get("text")),
        top_p=wire.get("top_p"),
        user=wire.get("safety_identifier") or wire.get("user"),
        effort=EFFORTS.get(effort or ""),
        is_thinking=effort not in WITHOUT_THINKING,
        dialect="responses",
        extras=find_extras(wire),
    )
    return _fit(request, limit or max_output_tokens, context_tokens)


def _parse_messages(wire: Mapping[str, Any]) -> tuple[Message, ...]:
    messages = parse_input(wire["input"])
    instructions = wire.get("instructions")
    return (
        messages
        if not instructions
        else (
            Message("system", instructions, path="instructions"),
            *messages,
        )
    )


def _fit(request: ChatRequest, limit: int, context_tokens: int) -> ChatRequest:
    try:
        room = find_room(request, limit, context_tokens)
    except PromptTooLongError as error:
        shown = f"more than {context_tokens}" if error.tokens is None else error.tokens
        raise refusal(
            "input",
            f"This model's maximum context length is {context_tokens} tokens. "
            f"However, your input resulted in {shown} tokens. Please reduce its length.",
            "context_length_exceeded",
        ) from error
    return request if room == limit else replace(request, max_tokens=room)


def _parse_format(text: Mapping[str, Any] | None) -> ResponseFormat:
    wire = (text or {}).get("format")
    if wire is None:
        return PLAIN_TEXT
    fields.mapping("text.format", wire)
    kind = fields.required(wire, "type", "text.format", _FORMAT)
    if kind == "json_schema":
        return parse_schema_format(wire, "text.format")
    return ResponseFormat(FormatKind.JSON_OBJECT) if kind == "json_object" else PLAIN_TEXT


@takes(object_of({}, {"effort": nullable(schema_of(_EFFORT)), "summary": nullable(STRING)}))
def _check_reasoning(param: str, value: Any) -> None:
    fields.mapping(param, value)
    fields.optional(value, "effort", param, _EFFORT)
    fields.optional(value, "summary", param, fields.string)


@takes(object_of({}, {"verbosity": nullable(schema_of(VERBOSITY))}))
def _check_text(param: str, value: Any) -> None:
    fields.mapping(param, value)
    fields.optional(value, "verbosity", param, VERBOSITY)


@takes(NULL)
def _refuse_stored(param: str, _value: Any) -> None:
    raise refusal(
        param,
        f"'{param}' is not supported: this server stores no responses. Send the earlier turns in "
        "'input'.",
        "unsupported_value",
    )


@takes({"type": "boolean", "enum": [False]})
def _refuse_true(param: str, value: Any) -> None:
    fields.boolean(param, value)
    if value:
        raise fields.unsupported(param, f"'{param}': true")


@takes({"type": "integer", "enum": [0]})
def _refuse_odds(param: str, value: Any) -> None:
    fields.integer(0, 20)(param, value)
    if value:
        raise fields.unsupported(param, "A question for log probabilities")


@takes(array_of(STRING))
def _check_include(param: str, value: Any) -> None:
    """Let pass what belongs to tools and thinking that there are none of here."""
    fields.array(param, value)
    for place, name in enumerate(value):
        fields.string(f"{param}[{place}]", name)
        if name == "message.output_text.logprobs":
            raise fields.unsupported(f"{param}[{place}]", "A question for log probabilities")


@takes(NULL)
def _refuse(param: str, _value: Any) -> None:
    raise fields.unsupported(param, f"'{param}'")


PARAMETERS: Mapping[str, Check] = MappingProxyType(
    {
        "instructions": fields.string,
        "max_output_tokens": fields.integer(1, 2**63 - 1),
        "temperature": fields.decimal(0, 2),
        "top_p": fields.decimal(0, 1),
        "stream": fields.boolean,
        "stream_options": fields.mapping,
        "store": fields.boolean,
        "parallel_tool_calls": fields.boolean,
        "metadata": check_metadata,
        "user": fields.string,
        "safety_identifier": fields.string,
        "prompt_cache_key": fields.string,
        "prompt_cache_options": fields.mapping,
        "prompt_cache_retention": fields.string,
        "service_tier": fields.string,
        "truncation": fields.one_of("auto", "disabled"),
        "include": _check_include,
        "reasoning": _check_reasoning,
        "text": _check_text,
        "top_logprobs": _refuse_odds,
        "background": _refuse_true,
        "previous_response_id": _refuse_stored,
        "conversation": _refuse_stored,
        "prompt": _refuse,
    }
)

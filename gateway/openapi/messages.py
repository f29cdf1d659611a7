"""Anthropic's messages in the document: parameters come from the parser's own table."""

from typing import Any

from gateway.dialects.anthropic import media
from gateway.dialects.anthropic.blocks import CACHE_TTL, CACHE_TYPE
from gateway.dialects.anthropic.messages import MOST_MESSAGES
from gateway.dialects.anthropic.requests import BUDGET, PARAMETERS, THINKING
from gateway.dialects.anthropic.responses import STOP_REASONS
from gateway.dialects.anthropic.tools import EFFORT, MODES, NAME_SCHEMA
from gateway.dialects.schemas import (
    BOOLEAN,
    OBJECT,
    STRING,
    Schema,
    array_of,
    nullable,
    object_of,
    schema_of,
    schemas_of,
    word,
)
from gateway.openapi.parts import (
    ANTHROPIC,
    CACHE,
    COUNT,
    IDEMPOTENCY_KEY,
    MODEL,
    Operation,
    asked_of_models,
    in_query,
    ref,
)

_TEXT: Schema = {**STRING, "minLength": 1}
_BASE64: Schema = {**STRING, "pattern": "^[A-Za-z0-9+/]+={0,2}$"}
_ADDRESS: Schema = {**STRING, "pattern": "^https?://", "description": "A public address."}
_CACHE = {
    "cache_control": nullable(
        object_of({"type": schema_of(CACHE_TYPE)}, {"ttl": nullable(schema_of(CACHE_TTL))})
    )
}


def _base64_of(check: Any) -> Schema:
    return object_of({"type": word("base64"), "media_type": schema_of(check), "data": _BASE64}, {})


_BY_ADDRESS = object_of({"type": word("url"), "url": _ADDRESS}, {})
_TEXT_BLOCK = object_of({"type": word("text"), "text": _TEXT}, _CACHE)
_IMAGE_SOURCE: Schema = {"anyOf": [_base64_of(media.IMAGE_TYPE), _BY_ADDRESS]}
_IMAGE_BLOCK = object_of({"type": word("image"), "source": _IMAGE_SOURCE}, _CACHE)
_INNER: Schema = {
    "anyOf": [
        object_of({"type": word("text"), "text": STRING}, {}),
        object_of({"type": word("image"), "source": _IMAGE_SOURCE}, {}),
    ]
}
_DOCUMENT_SOURCE: Schema = {
    "anyOf": [
        _base64_of(media.PDF_TYPE),
        _BY_ADDRESS,
        object_of(
            {"type": word("text"), "media_type": schema_of(media.TEXT_TYPE), "data": STRING}, {}
        ),
        object_of({"type": word("content"), "content": {"anyOf": [STRING, array_of(_INNER)]}}, {}),
    ]
}
_DOCUMENT_BLOCK = object_of(
    {"type": word("document"), "source": _DOCUMENT_SOURCE},
    {
        "title": nullable(STRING),
        "context": nullable(STRING),
        "citations": nullable(OBJECT),
        **_CACHE,
    },
)
_SHOWN = [_TEXT_BLOCK, _IMAGE_BLOCK, _DOCUMENT_BLOCK]
_RESULT_BLOCK = object_of(
    {"type": word("tool_result"), "tool_use_id": STRING},
    {
        "content": nullable({"anyOf": [STRING, array_of({"anyOf": _SHOWN})]}),
        "is_error": nullable(BOOLEAN),
        **_CACHE,
    },
)
_SAID = [
    _TEXT_BLOCK,
    object_of({"type": word("tool_use"), "id": _TEXT, "name": STRING, "input": OBJECT}, _CACHE),
    object_of({"type": word("thinking"), "thinking": STRING, "signature": STRING}, _CACHE),
    object_of({"type": word("redacted_thinking"), "data": STRING}, _CACHE),
]


def _content(*blocks: Schema) -> Schema:
    return {"anyOf": [_TEXT, array_of({"anyOf": list(blocks)}, least=1)]}


_MESSAGE: Schema = {
    "anyOf": [
        object_of({"role": word("user"), "content": _content(*_SHOWN, _RESULT_BLOCK)}, {}),
        object_of(
            {
                "role": word("assistant"),
                "content": {
                    "anyOf": [STRING, array_of({"anyOf": _SAID})],
                    "description": "The last message's may be empty.",
                },
            },
            {},
        ),
        object_of({"role": word("system"), "content": _content(_TEXT_BLOCK)}, {}),
    ]
}
_TOOL = object_of(
    {
        "name": NAME_SCHEMA,
        "input_schema": {
            **object_of({"type": word("object")}, {}),
            "description": "A JSON Schema.",
        },
    },
    {
        "type": nullable(word("custom")),
        "description": nullable(STRING),
        "strict": nullable(BOOLEAN),
        **_CACHE,
    },
)
_ALONE = {"disable_parallel_tool_use": nullable(BOOLEAN)}
_CHOICE: Schema = {
    "anyOf": [
        object_of({"type": word("tool"), "name": STRING}, _ALONE),
        object_of({"type": word(*(kind for kind in MODES if kind != "tool"))}, _ALONE),
        {"type": "null"},
    ]
}
_THINKING: Schema = {
    "anyOf": [
        object_of({"type": word("enabled"), "budget_tokens": schema_of(BUDGET)}, {}),
        object_of(
            {"type": word(*(kind for kind in schema_of(THINKING)["enum"] if kind != "enabled"))}, {}
        ),
        {"type": "null"},
    ]
}
_OUTPUT = object_of(
    {},
    {
        "effort": nullable(schema_of(EFFORT)),
        "format": nullable(object_of({"type": word("json_schema"), "schema": OBJECT}, {})),
    },
)
_ASKED = {
    "messages": array_of(_MESSAGE, least=1, most=MOST_MESSAGES),
}
_MAX_TOKENS: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_STEERED = {
    **schemas_of(PARAMETERS),
    **_CACHE,
    "system": {"anyOf": [STRING, array_of(_TEXT_BLOCK), {"type": "null"}]},
    "tools": nullable(array_of(_TOOL)),
    "tool_choice": _CHOICE,
    "thinking": _THINKING,
    "output_config": nullable(_OUTPUT),
}
_BLOCK: Schema = {
    "anyOf": [
        object_of({"type": word("text"), "text": STRING}, {}),
        object_of({"type": word("thinking"), "thinking": STRING, "signature": STRING}, {}),
        object_of({"type": word("redacted_thinking"), "data": STRING}, {}),
        object_of({"type": word("tool_use"), "id": STRING, "name": STRING, "input": OBJECT}, {}),
    ]
}
SCHEMAS = {
    "MessagesRequest": asked_of_models(
        object_of({**_ASKED, "max_tokens": _MAX_TOKENS}, _STEERED), model=MODEL
    ),
    "TokenCountRequest": asked_of_models(
        object_of(_ASKED, {**_STEERED, "max_tokens": nullable(_MAX_TOKENS)}), model=MODEL
    ),
    "TokenCount": object_of({"input_tokens": COUNT}, {}),
    "Message": object_of(
        {
            "id": {**STRING, "pattern": "^msg_"},
            "type": word("message"),
            "role": word("assistant"),
            "model": STRING,
            "content": array_of(_BLOCK),
            "stop_reason": word(
                *sorted({*STOP_REASONS.values(), "pause_turn", "model_context_window_exceeded"})
            ),
            "stop_sequence": nullable(STRING),
            "usage": object_of(
                {
                    "input_tokens": COUNT,
                    "output_tokens": COUNT,
                    "cost": ref("Cost"),
                    "x_tollgate": ref("Evidence"),
                },
                {
                    "cache_creation_input_tokens": nullable(COUNT),
                    "cache_read_input_tokens": nullable(COUNT),
                    "output_tokens_details": nullable(OBJECT),
                    "service_tier": nullable(STRING),
                },
            ),
        },
        {},
    ),
}
_BETA = in_query("beta", STRING, "The clients' beta surface; the same endpoint.")
_HELLO = {"model": "hacxgpt", "messages": [{"role": "user", "content": "Hello"}]}
PATHS = {
    "/anthropic/v1/messages": {
        "post": Operation(
            "createMessage",
            "Messages",
            "Answer a conversation",
            "Message",
            ANTHROPIC.metered(),
            ANTHROPIC,
            body="MessagesRequest",
            example={**_HELLO, "max_tokens": 1024},
            parameters=[_BETA, IDEMPOTENCY_KEY, CACHE],
            says="Anthropic's messages. Every `anthropic-version` is taken, and none.",
            streams="With `stream: true`: named events from `message_start` to `message_stop`. A "
            "failure after the first byte is an event `error`.",
            is_metered=True,
        )
    },
    "/anthropic/v1/messages/count_tokens": {
        "post": Operation(
            "countTokens",
            "Messages",
            "Count what a message would be billed for as its input, free of charge",
            "TokenCount",
            ANTHROPIC.free(),
            ANTHROPIC,
            body="TokenCountRequest",
            example=_HELLO,
            parameters=[_BETA],
            is_metered=True,
        )
    },
}

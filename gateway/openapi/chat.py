"""OpenAI's chat completions in the document: parameters come from the parser's own table."""

from gateway.chat import ToolMode
from gateway.dialects.openai import media
from gateway.dialects.openai.parameters import PARAMETERS
from gateway.dialects.openai.responses import FINISH_REASONS
from gateway.dialects.openai.tools import MOST_TOOLS, NAME_SCHEMA
from gateway.dialects.schemas import (
    BOOLEAN,
    NULL,
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
    CACHE,
    COUNT,
    IDEMPOTENCY_KEY,
    OPENAI,
    SECONDS,
    Operation,
    asked_of_models,
    ref,
)

_BASE64 = "^[A-Za-z0-9+/]+={0,2}$"
IMAGE_URL: Schema = {
    **STRING,
    "pattern": "^(https?://|data:image/(png|jpeg|gif|webp);base64,)",
    "description": "A public address, or a base64 data URL.",
}
_TEXT_PART = object_of({"type": word("text"), "text": STRING}, {})
_IMAGE_PART = object_of(
    {
        "type": word("image_url"),
        "image_url": object_of({"url": IMAGE_URL}, {"detail": nullable(schema_of(media.DETAIL))}),
    },
    {},
)
_VIDEO_URL: Schema = {**STRING, "pattern": "^(https?://|data:video/[a-z0-9.+-]+;base64,)"}
_VIDEO_PART = object_of(
    {"type": word("video_url"), "video_url": object_of({"url": _VIDEO_URL}, {})}, {}
)
_AUDIO_PART = object_of(
    {
        "type": word("input_audio"),
        "input_audio": object_of(
            {"data": {**STRING, "pattern": _BASE64}, "format": schema_of(media.AUDIO_FORMAT)}, {}
        ),
    },
    {},
)
PDF: Schema = {**STRING, "pattern": "^data:application/pdf;base64,"}
_FILE_PART = object_of(
    {"type": word("file"), "file": object_of({"file_data": PDF}, {"filename": nullable(STRING)})},
    {},
)
_REFUSAL_PART = object_of({"type": word("refusal"), "refusal": STRING}, {})
_NAMED = {"name": nullable(STRING)}


def _content(*parts: Schema) -> Schema:
    return {"anyOf": [STRING, array_of({"anyOf": list(parts)}, least=1)]}


_FUNCTION_CALL = object_of({"name": STRING, "arguments": STRING}, {})
_CALL = object_of({"id": STRING, "type": word("function"), "function": _FUNCTION_CALL}, {})
_SAID = _content(_TEXT_PART, _REFUSAL_PART)
_ASSISTANT: Schema = {
    **object_of(
        {"role": word("assistant")},
        {
            **_NAMED,
            "content": nullable(_SAID),
            "refusal": nullable(STRING),
            "reasoning_content": {"description": "Of an earlier answer; sent on where it can be."},
            "tool_calls": nullable(array_of(_CALL)),
            "function_call": nullable(_FUNCTION_CALL),
        },
    ),
    "anyOf": [
        object_of({"content": _SAID}, {}),
        object_of({"tool_calls": array_of(_CALL, least=1)}, {}),
        object_of({"function_call": OBJECT}, {}),
        object_of({"refusal": STRING}, {}),
    ],
}
_MESSAGE: Schema = {
    "anyOf": [
        object_of({"role": word("system", "developer"), "content": _content(_TEXT_PART)}, _NAMED),
        object_of(
            {
                "role": word("user"),
                "content": _content(_TEXT_PART, _IMAGE_PART, _VIDEO_PART, _AUDIO_PART, _FILE_PART),
            },
            _NAMED,
        ),
        _ASSISTANT,
        object_of(
            {"role": word("tool"), "content": _content(_TEXT_PART), "tool_call_id": STRING},
            _NAMED,
        ),
        object_of({"role": word("function"), "name": STRING}, {"content": nullable(STRING)}),
    ]
}
_FUNCTION = object_of(
    {"name": NAME_SCHEMA},
    {
        "description": nullable(STRING),
        "strict": nullable(BOOLEAN),
        "parameters": {"type": ["object", "null"], "description": "A JSON Schema of an object."},
    },
)
_TOOL = object_of({"type": word("function"), "function": _FUNCTION}, {})
_NAMED_TOOL = object_of(
    {"type": word("function"), "function": object_of({"name": NAME_SCHEMA}, {})}, {}
)
_ALLOWED_TOOLS = object_of(
    {
        "type": word("allowed_tools"),
        "allowed_tools": object_of(
            {"mode": word("auto", "required"), "tools": array_of(_NAMED_TOOL, least=1)}, {}
        ),
    },
    {},
)
_MODES = word(*(mode.value for mode in ToolMode))
SCHEMA_FORMAT = object_of(
    {"name": NAME_SCHEMA},
    {
        "schema": {"type": ["object", "null"], "description": "A JSON Schema."},
        "strict": nullable(BOOLEAN),
        "description": nullable(STRING),
    },
)
_FORMAT: Schema = {
    "anyOf": [
        object_of({"type": word("text", "json_object")}, {}),
        object_of({"type": word("json_schema"), "json_schema": SCHEMA_FORMAT}, {}),
        NULL,
    ]
}
_REQUEST = object_of(
    {"messages": array_of(_MESSAGE, least=1)},
    {
        **schemas_of(PARAMETERS),
        "tools": nullable(array_of(_TOOL, most=MOST_TOOLS)),
        "tool_choice": {"anyOf": [_MODES, _NAMED_TOOL, _ALLOWED_TOOLS, NULL]},
        "response_format": _FORMAT,
        "functions": nullable(array_of(_FUNCTION, most=MOST_TOOLS)),
        "function_call": {
            "anyOf": [word("none", "auto"), object_of({"name": NAME_SCHEMA}, {}), NULL]
        },
    },
)
_REASONS = sorted({*FINISH_REASONS.values(), "function_call"})
_ODDS = nullable(object_of({"content": nullable(array_of(OBJECT))}, {}))
_USAGE = object_of(
    {
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "total_tokens": COUNT,
        "cost": ref("Cost"),
        "x_tollgate": ref("Evidence"),
    },
    {"prompt_tokens_details": OBJECT, "completion_tokens_details": OBJECT},
)
_COMPLETION = object_of(
    {
        "id": {**STRING, "pattern": "^chatcmpl-"},
        "object": word("chat.completion"),
        "created": SECONDS,
        "model": STRING,
        "choices": array_of(
            object_of(
                {
                    "index": COUNT,
                    "message": object_of(
                        {"role": word("assistant"), "content": nullable(STRING)},
                        {
                            "refusal": nullable(STRING),
                            "reasoning_content": nullable(STRING),
                            "tool_calls": nullable(array_of(_CALL)),
                            "function_call": nullable(_FUNCTION_CALL),
                        },
                    ),
                    "finish_reason": word(*_REASONS),
                },
                {"logprobs": _ODDS},
            )
        ),
        "usage": _USAGE,
    },
    {"system_fingerprint": nullable(STRING)},
)
_CHUNK = object_of(
    {
        "id": {**STRING, "pattern": "^chatcmpl-"},
        "object": word("chat.completion.chunk"),
        "created": SECONDS,
        "model": STRING,
        "choices": array_of(
            object_of(
                {
                    "index": COUNT,
                    "delta": object_of(
                        {},
                        {
                            "role": word("assistant"),
                            "content": nullable(STRING),
                            "reasoning_content": nullable(STRING),
                            "tool_calls": array_of(object_of({"index": COUNT}, {})),
                            "function_call": OBJECT,
                        },
                    ),
                    "finish_reason": nullable(word(*_REASONS)),
                },
                {"logprobs": _ODDS},
            )
        ),
    },
    {"system_fingerprint": nullable(STRING), "usage": nullable(_USAGE)},
)

SCHEMAS = {
    "ChatCompletionRequest": asked_of_models(_REQUEST, model=nullable(STRING)),
    "ChatCompletion": _COMPLETION,
    "ChatCompletionChunk": _CHUNK,
}
PATHS = {
    "/v1/chat/completions": {
        "post": Operation(
            "createChatCompletion",
            "Chat completions",
            "Answer a conversation",
            "ChatCompletion",
            OPENAI.metered(),
            body="ChatCompletionRequest",
            example={"model": "hacxgpt", "messages": [{"role": "user", "content": "Hello"}]},
            parameters=[IDEMPOTENCY_KEY, CACHE],
            says="OpenAI's chat completions. Unknown fields are ignored, and null is as good as "
            "absent. A model's own limits bound `max_tokens` and the length of the prompt.",
            streams="With `stream: true`: frames `data: ` and a ChatCompletionChunk each, then "
            "`data: [DONE]`. A failure after the first byte is a frame with an `error`.",
            is_metered=True,
        )
    }
}

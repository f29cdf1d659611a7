"""OpenAI's responses in the document: parameters come from the parser's own table."""

from gateway.chat import ToolMode
from gateway.dialects.openai import media
from gateway.dialects.openai.tools import MOST_TOOLS, NAME_SCHEMA
from gateway.dialects.responses.requests import PARAMETERS, VERBOSITY
from gateway.dialects.schemas import (
    ARRAY,
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
from gateway.openapi.chat import IMAGE_URL, PDF, SCHEMA_FORMAT
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

_TEXT = object_of({"type": word("input_text"), "text": STRING}, {})
_IMAGE = object_of(
    {"type": word("input_image"), "image_url": IMAGE_URL},
    {"detail": nullable(schema_of(media.DETAIL))},
)
_FILE = object_of({"type": word("input_file"), "file_data": PDF}, {"filename": nullable(STRING)})
_WRITTEN: Schema = {
    "anyOf": [
        object_of({"type": word("output_text", "input_text"), "text": STRING}, {}),
        object_of({"type": word("refusal"), "refusal": STRING}, {}),
    ]
}
_ASKED: Schema = {"anyOf": [_TEXT, _IMAGE, _FILE]}
_KIND = {"type": nullable(word("message"))}
_INPUT_TURN: Schema = {
    "anyOf": [
        object_of(
            {"role": word("user"), "content": {"anyOf": [STRING, array_of(_ASKED, least=1)]}},
            _KIND,
        ),
        object_of(
            {"role": word("assistant"), "content": {"anyOf": [STRING, array_of(_WRITTEN)]}},
            _KIND,
        ),
        object_of(
            {
                "role": word("system", "developer"),
                "content": {"anyOf": [STRING, array_of(_TEXT)]},
            },
            _KIND,
        ),
        object_of(
            {
                "type": word("function_call"),
                "call_id": STRING,
                "name": STRING,
                "arguments": STRING,
            },
            {},
        ),
        object_of(
            {
                "type": word("function_call_output"),
                "call_id": STRING,
                "output": {"anyOf": [STRING, array_of(_ASKED)]},
            },
            {},
        ),
        object_of({"type": word("reasoning")}, {}),
    ]
}
_TOOL = object_of(
    {"type": word("function"), "name": NAME_SCHEMA},
    {
        "description": nullable(STRING),
        "strict": nullable(BOOLEAN),
        "parameters": {"type": ["object", "null"], "description": "A JSON Schema of an object."},
    },
)
_NAMED = object_of({"type": word("function"), "name": NAME_SCHEMA}, {})
_ALLOWED = object_of(
    {
        "type": word("allowed_tools"),
        "mode": word("auto", "required"),
        "tools": array_of(_NAMED, least=1),
    },
    {},
)
_FORMAT: Schema = {
    "anyOf": [
        object_of({"type": word("text", "json_object")}, {}),
        {
            **SCHEMA_FORMAT,
            **object_of(
                {"type": word("json_schema"), "name": NAME_SCHEMA}, SCHEMA_FORMAT["properties"]
            ),
        },
        NULL,
    ]
}
_REQUEST = object_of(
    {"input": {"anyOf": [STRING, array_of(_INPUT_TURN, least=1)]}},
    {
        **schemas_of(PARAMETERS),
        "text": nullable(
            object_of({}, {"verbosity": nullable(schema_of(VERBOSITY)), "format": _FORMAT})
        ),
        "tools": nullable(array_of(_TOOL, most=MOST_TOOLS)),
        "tool_choice": {
            "anyOf": [word(*(mode.value for mode in ToolMode)), _NAMED, _ALLOWED, NULL]
        },
    },
)
_USAGE = object_of(
    {
        "input_tokens": COUNT,
        "input_tokens_details": object_of(
            {"cached_tokens": COUNT, "cache_write_tokens": COUNT}, {}
        ),
        "output_tokens": COUNT,
        "output_tokens_details": object_of({"reasoning_tokens": COUNT}, {}),
        "total_tokens": COUNT,
        "cost": ref("Cost"),
        "x_tollgate": ref("Evidence"),
    },
    {},
)
_OUTPUT = object_of(
    {
        "id": STRING,
        "type": word("message", "function_call", "reasoning"),
        "status": word("in_progress", "completed", "incomplete"),
    },
    {
        "role": word("assistant"),
        "content": ARRAY,
        "summary": ARRAY,
        "call_id": STRING,
        "name": STRING,
        "arguments": STRING,
    },
)
SCHEMAS = {
    "ResponseRequest": asked_of_models(_REQUEST, model=nullable(STRING)),
    "InputTokenCount": object_of(
        {"object": word("response.input_tokens"), "input_tokens": COUNT}, {}
    ),
    "Response": object_of(
        {
            "id": {**STRING, "pattern": "^resp_"},
            "object": word("response"),
            "created_at": SECONDS,
            "status": word("in_progress", "completed", "incomplete", "failed"),
            "error": nullable(object_of({"code": STRING, "message": STRING}, {})),
            "incomplete_details": nullable(object_of({"reason": STRING}, {})),
            "instructions": nullable(STRING),
            "max_output_tokens": nullable(COUNT),
            "model": STRING,
            "output": array_of(_OUTPUT),
            "parallel_tool_calls": BOOLEAN,
            "previous_response_id": NULL,
            "store": {"type": "boolean", "enum": [False]},
            "text": OBJECT,
            "tool_choice": {"anyOf": [STRING, OBJECT]},
            "tools": ARRAY,
            "usage": nullable(_USAGE),
            "metadata": OBJECT,
        },
        {},
    ),
}
PATHS = {
    "/v1/responses": {
        "post": Operation(
            "createResponse",
            "Responses",
            "Answer an input",
            "Response",
            OPENAI.metered(),
            body="ResponseRequest",
            example={"model": "hacxgpt", "input": "Hello"},
            parameters=[IDEMPOTENCY_KEY, CACHE],
            says="OpenAI's responses. Nothing is stored: earlier turns are sent along in `input`, "
            "and there are no tools but the caller's own functions.",
            streams="With `stream: true`: named and numbered events from `response.created` to "
            "`response.completed` or `response.incomplete`. A failure after the first byte is an "
            "event `error`, then `response.failed`.",
            is_metered=True,
        )
    },
    "/v1/responses/input_tokens": {
        "post": Operation(
            "countInputTokens",
            "Responses",
            "Count what an input would be billed for, free of charge",
            "InputTokenCount",
            OPENAI.free(),
            body="ResponseRequest",
            example={"model": "hacxgpt", "input": "Hello"},
            is_metered=True,
        )
    },
}

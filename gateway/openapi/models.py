"""The lists of models in the document, OpenAI's and Anthropic's, and the process's own state."""

from gateway.dialects.anthropic.models import MOST_LISTED, USUALLY_LISTED
from gateway.dialects.offers import OFFER_SCHEMA, PRICING_SCHEMA
from gateway.dialects.schemas import STRING, array_of, nullable, object_of, word
from gateway.openapi.parts import (
    ANTHROPIC,
    COUNT,
    OPENAI,
    SECONDS,
    Operation,
    in_path,
    in_query,
    list_of,
    ref,
)

_ID = in_path(
    "model",
    "The model's id; it may have slashes in it.",
    pattern="^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$",
)
_LIMIT = {
    "type": "integer",
    "minimum": 1,
    "maximum": MOST_LISTED,
    "default": USUALLY_LISTED,
}
SCHEMAS = {
    "Model": object_of(
        {
            "id": STRING,
            "object": word("model"),
            "created": SECONDS,
            "owned_by": STRING,
            "context_length": COUNT,
            "top_provider": object_of(
                {"context_length": COUNT, "max_completion_tokens": COUNT}, {}
            ),
            "pricing": PRICING_SCHEMA,
            "x_tollgate": OFFER_SCHEMA,
        },
        {},
    ),
    "Models": list_of(ref("Model")),
    "AnthropicModel": object_of(
        {
            "type": word("model"),
            "id": STRING,
            "display_name": STRING,
            "created_at": {**STRING, "format": "date-time"},
            "lifecycle": word("active"),
            "max_input_tokens": COUNT,
            "max_tokens": COUNT,
            "x_tollgate": OFFER_SCHEMA,
        },
        {},
    ),
    "AnthropicModels": object_of(
        {
            "data": array_of(ref("AnthropicModel")),
            "has_more": {"type": "boolean"},
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
        },
        {},
    ),
}
PATHS = {
    "/v1/models": {
        "get": Operation(
            "listModels", "Models", "List what this key may call", "Models", OPENAI.listed()
        )
    },
    "/v1/models/{model}": {
        "get": Operation(
            "getModel", "Models", "Find one model", "Model", OPENAI.listed(), parameters=[_ID]
        )
    },
    "/anthropic/v1/models": {
        "get": Operation(
            "listAnthropicModels",
            "Models",
            "List what this key may call, by pages",
            "AnthropicModels",
            ANTHROPIC.listed(),
            ANTHROPIC,
            parameters=[
                in_query("limit", _LIMIT, "How many of them."),
                in_query("after_id", STRING, "The `last_id` of the page before."),
                in_query("before_id", STRING, "The `first_id` of the page after."),
            ],
        )
    },
    "/anthropic/v1/models/{model}": {
        "get": Operation(
            "getAnthropicModel",
            "Models",
            "Find one model",
            "AnthropicModel",
            ANTHROPIC.listed(),
            ANTHROPIC,
            parameters=[_ID],
        )
    },
}

"""Embeddings in the document."""

from gateway.dialects.openai.embeddings import DIMENSIONS, FORMAT, MOST_INPUTS, TOKEN
from gateway.dialects.schemas import (
    STRING,
    Schema,
    array_of,
    nullable,
    object_of,
    schema_of,
    word,
)
from gateway.openapi.parts import CACHE, COUNT, IDEMPOTENCY_KEY, MODEL, OPENAI, Operation, ref

_TEXT: Schema = {**STRING, "minLength": 1}
_TOKENS = array_of(schema_of(TOKEN), least=1)
_INPUT: Schema = {
    "anyOf": [
        _TEXT,
        array_of(_TEXT, least=1, most=MOST_INPUTS),
        _TOKENS,
        array_of(_TOKENS, least=1, most=MOST_INPUTS),
    ]
}
SCHEMAS = {
    "EmbeddingsRequest": object_of(
        {"model": MODEL, "input": _INPUT},
        {
            "encoding_format": nullable(schema_of(FORMAT)),
            "dimensions": nullable(schema_of(DIMENSIONS)),
            "user": nullable(STRING),
        },
    ),
    "Embeddings": object_of(
        {
            "object": word("list"),
            "data": array_of(
                object_of(
                    {
                        "object": word("embedding"),
                        "index": COUNT,
                        "embedding": {
                            "anyOf": [array_of({"type": "number"}), STRING],
                            "description": "Numbers, or little-endian float32 in base64.",
                        },
                    },
                    {},
                )
            ),
            "model": STRING,
            "usage": object_of(
                {
                    "prompt_tokens": COUNT,
                    "total_tokens": COUNT,
                    "cost": ref("Cost"),
                    "x_tollgate": ref("Evidence"),
                },
                {},
            ),
        },
        {},
    ),
}
PATHS = {
    "/v1/embeddings": {
        "post": Operation(
            "createEmbeddings",
            "Embeddings",
            "Turn texts into vectors",
            "Embeddings",
            OPENAI.metered(),
            body="EmbeddingsRequest",
            example={"model": "text-embedding-3-small", "input": ["Hello", "Good day"]},
            parameters=[IDEMPOTENCY_KEY, CACHE],
            is_metered=True,
        )
    }
}

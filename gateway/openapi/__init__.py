"""One OpenAPI document for every path that programs call: data plane and customers' API.

Parameters come from the tables that the parsers check by; the rest is written beside them. Every
path stands under ``/v1``, its aliases refer to it.
"""

from functools import cache

import orjson

from gateway.dialects.schemas import STRING
from gateway.openapi import (
    chat,
    embeddings,
    messages,
    models,
    organization,
    payments,
    responses,
    webhooks,
)
from gateway.openapi.parts import (
    ANTHROPIC,
    ERRORS,
    OPENAI,
    Json,
    render_headers,
    render_parameters,
    render_refusals,
)

_PARTS = (chat, responses, embeddings, messages, models, organization, payments, webhooks)
_ALIASES = ("/api/v1", "/api")
DOCUMENT_PATH = "/v1/openapi.json"
_SAYS = """\
The paths below `/v1` answer below `/api/v1` and `/api` just the same; Anthropic's API stands below
`/anthropic`. Money is written as decimal text, but for `usage.cost`, which is a number with every
digit. Every answer carries its own id in `x-request-id` and `request-id`.
"""
_SECURITY: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer hk-proj-…`. Paths below `/organization` need an "
        "admin key, `hk-admin-…`. Where both headers are sent and differ, this one counts, but "
        "below `/anthropic`.",
    },
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same keys. Below `/anthropic` this header counts where both differ.",
    },
}


@cache
def build_document() -> Json:
    """Return the document; nobody changes it."""
    paths: Json = {
        path: {method: operation.render() for method, operation in methods.items()}
        for part in _PARTS
        for path, methods in part.PATHS.items()
    }
    paths[DOCUMENT_PATH] = {"get": _document_operation()}
    aliases = {
        alias + path.removeprefix("/v1"): {"$ref": f"#/paths/{path.replace('/', '~1')}"}
        for alias in _ALIASES
        for path in paths
        if path.startswith("/v1/")
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tollgate", "version": "1", "description": _SAYS},
        "servers": [{"url": "/"}],
        "security": [{scheme: []} for scheme in _SECURITY],
        "paths": {**paths, **aliases},
        "components": {
            "schemas": {**ERRORS, **{k: v for part in _PARTS for k, v in part.SCHEMAS.items()}},
            "responses": {**render_refusals(OPENAI), **render_refusals(ANTHROPIC)},
            "parameters": render_parameters(),
            "headers": render_headers(),
            "securitySchemes": _SECURITY,
        },
    }


@cache
def render_document() -> bytes:
    """Return the document as JSON."""
    return orjson.dumps(build_document())


def _document_operation() -> Json:
    return {
        "operationId": "getDocument",
        "tags": ["Document"],
        "summary": "This document; no key is needed",
        "security": [],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"openapi": STRING}}
                    }
                },
            }
        },
    }

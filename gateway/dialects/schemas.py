"""What a check takes, as JSON Schema, said beside it: the OpenAPI document is made of this. Pure.

A schema says what its check demands, but for what JSON Schema has no words for: a model's own
limits, base64, addresses, and which result answers which call.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Schema = dict[str, Any]
_Check = TypeVar("_Check", bound=Callable[..., Any])
_KEY = "json_schema"

BOOLEAN: Schema = {"type": "boolean"}
STRING: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}
ARRAY: Schema = {"type": "array"}
NULL: Schema = {"type": "null"}


def takes(schema: Schema) -> Callable[[_Check], _Check]:
    """Say what a check takes."""

    def say(check: _Check) -> _Check:
        check.__dict__[_KEY] = schema
        return check

    return say


def schema_of(check: Callable[..., Any]) -> Schema:
    """Return what a check was said to take."""
    schema: Schema = check.__dict__[_KEY]
    return schema


def schemas_of(checks: Mapping[str, Callable[..., Any]]) -> dict[str, Schema]:
    """Return the properties that a table of optional fields makes: null is as good as absent."""
    return {name: nullable(schema_of(check)) for name, check in checks.items()}


def nullable(schema: Schema) -> Schema:
    """Return the schema of what may also be null."""
    if not schema or schema == NULL:
        return schema
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str) and "anyOf" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, NULL]}


def object_of(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object; what stands in neither is not looked at."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        **({"required": list(required)} if required else {}),
    }


def array_of(schema: Schema, *, least: int = 0, most: int | None = None) -> Schema:
    bounds = {"minItems": least or None, "maxItems": most}
    kept = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"type": "array", "items": schema, **kept}


def word(*words: str) -> Schema:
    """Return the schema of one of a few words."""
    return {"type": "string", "enum": list(words)}

"""Reading JSON Schemas: merging two into one, and what kind of value one speaks of. Pure."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

Schema = Mapping[str, Any]
MOST_BRANCHES = 64


class NoValueError(Exception):
    """One branch of a schema leads nowhere; another may lead on."""


def as_object(schema: Any) -> Schema:
    if schema is False:
        raise NoValueError("it forbids every value")
    return {} if schema is True else schema


def merged(one: Schema, other: Schema) -> Schema:
    """Return what satisfies both, for the keywords that meet in practice."""
    both: dict[str, Any] = {**one, **other}
    for key in one.keys() & other.keys():
        mine, theirs = one[key], other[key]
        match key:
            case "properties" | "$defs" | "definitions":
                shared = mine.keys() & theirs.keys()
                both[key] = {**mine, **theirs} | {
                    name: merged(as_object(mine[name]), as_object(theirs[name])) for name in shared
                }
            case "enum":
                both[key] = [member for member in mine if member in theirs]
            case "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties":
                both[key] = max(mine, theirs)
            case "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties":
                both[key] = min(mine, theirs)
            case "required" | "allOf":
                both[key] = [*mine, *theirs]
            case "anyOf" | "oneOf":
                both[key] = _crossed(mine, theirs)
    return both


def _crossed(mine: Sequence[Any], theirs: Sequence[Any]) -> list[Schema]:
    """Return every branch of one with every branch of the other, up to a number."""
    pairs = ((a, b) for a in mine for b in theirs if a is not False and b is not False)
    return [merged(as_object(a), as_object(b)) for a, b in islice(pairs, MOST_BRANCHES)]


def contained(schema: Schema) -> Any:
    items = schema.get("items", True)
    if "contains" in schema and items is not False:
        return merged(as_object(items), as_object(schema["contains"]))
    return items


def reach(schema: Schema) -> int:
    """Tell how far a branch is likely to lead on: plain values first."""
    return sum(key in schema for key in ("$ref", "properties", "items", "anyOf", "oneOf", "allOf"))


def kinds_of(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return list(kinds) if isinstance(kinds, list) else [kinds]


def likely_kind(schema: Schema) -> str:
    """Return the type to make: the first that is not null, else what the keywords speak of."""
    kinds = kinds_of(schema)
    if kinds:
        return next((kind for kind in kinds if kind != "null"), "null")
    for kind, keywords in (
        ("object", ("properties", "required", "additionalProperties", "minProperties")),
        ("array", ("items", "prefixItems", "minItems", "maxItems", "contains")),
        ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    ):
        if any(keyword in schema for keyword in keywords):
            return kind
    return "string"


def is_of(value: object, kinds: list[str]) -> bool:
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case int():
            return "integer" in kinds or "number" in kinds
        case float():
            return "number" in kinds or ("integer" in kinds and value.is_integer())
        case str():
            return "string" in kinds
        case list():
            return "array" in kinds
        case _:
            return "object" in kinds

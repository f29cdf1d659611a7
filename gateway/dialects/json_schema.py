"""Whether a JSON Schema is one: the shape of the keywords we honour, to a bounded depth. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_LEVELS = 64
TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS_OF_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
_NEVER_BIND = frozenset(
    {
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
        *("patternProperties", "prefixItems", "contains"),
    }
)
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_choice(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_KEYWORDS: tuple[tuple[tuple[str, ...], Callable[[object], bool], str], ...] = (
    (_NUMBERS, _is_number, "a number"),
    (_COUNTS, _is_count, "a count"),
    (("$ref", "pattern", "format"), _is_text, "a string"),
    (("enum",), _is_choice, "an array with something in it"),
    (("required",), _is_list_of_names, "an array of names"),
)


def find_fault(schema: object) -> str | None:
    """Return what is wrong with a schema and where, or None."""
    return _fault(schema, "#", MOST_LEVELS)


def may_bind(schema: Mapping[str, Any] | None) -> bool:
    """Tell whether a schema is such as OpenAI takes to bind an answer by: an object, and closed."""
    return schema is not None and schema.get("type") == "object" and _is_closed(schema)


def _is_closed(schema: object) -> bool:
    """Tell whether all objects name all their properties, demand them and no others."""
    if not isinstance(schema, dict):
        return True
    if not _NEVER_BIND.isdisjoint(schema):
        return False
    members = schema.get("properties", {})
    is_object = "object" in str(schema.get("type")) or members
    is_shut = schema.get("additionalProperties") is False
    if is_object and not (is_shut and set(members) == set(schema.get("required", ()))):
        return False
    return all(_is_closed(part) for part in _parts_of(schema))


def _parts_of(schema: Mapping[str, Any]) -> Iterator[object]:
    for name in _SCHEMAS:
        yield schema.get(name)
    for name in _LISTS_OF_SCHEMAS:
        yield from schema.get(name, ())
    for name in _MAPS_OF_SCHEMAS:
        yield from schema.get(name, {}).values()


def _fault(schema: object, where: str, levels: int) -> str | None:
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return f"{where} is not a schema"
    if levels == 0:
        return f"{where} is nested too deeply"
    return _wrong_keyword(schema, where) or _wrong_part(schema, where, levels - 1)


def _wrong_keyword(schema: Mapping[str, Any], where: str) -> str | None:
    kinds = schema.get("type", "object")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in TYPES:
            return f"{where}/type is not a type of JSON"
    for names, is_right, what in _KEYWORDS:
        for name in names:
            if name in schema and not is_right(schema[name]):
                return f"{where}/{name} is not {what}"
    return None


def _wrong_part(schema: Mapping[str, Any], where: str, levels: int) -> str | None:
    parts: list[tuple[str, object]] = [(name, schema[name]) for name in _SCHEMAS if name in schema]
    for name in _LISTS_OF_SCHEMAS:
        members = schema.get(name, ())
        if not isinstance(members, list | tuple):
            return f"{where}/{name} is not an array of schemas"
        parts += [(f"{name}/{place}", member) for place, member in enumerate(members)]
    for name in _MAPS_OF_SCHEMAS:
        members = schema.get(name, {})
        if not isinstance(members, dict):
            return f"{where}/{name} is not an object of schemas"
        parts += [(f"{name}/{key}", member) for key, member in members.items()]
    for name, part in parts:
        fault = _fault(part, f"{where}/{name}", levels)
        if fault is not None:
            return fault
    return None

"""A value for a JSON Schema, made from the schema alone: small, deterministic, valid.

Every value costs a little of a budget, and every level a little of a depth: past the first few only
what is required is written, so that a schema which refers to itself comes to an end.
"""

from collections.abc import Callable
from typing import Any

from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.json_numbers import make_number
from gateway.providers.simulator.json_schemas import (
    NoValueError,
    Schema,
    as_object,
    contained,
    is_of,
    kinds_of,
    likely_kind,
    merged,
    reach,
)
from gateway.providers.simulator.json_strings import make_string
from kernel.errors import BadRequestError

Hint = Callable[[str, Schema], str | None]
MOST_VALUES = 500
MOST_LEVELS = 24
GENEROUS_LEVELS = 20
_MOST_REFERENCES = 32


def make_value(schema: Schema, dice: Dice, *, param: str, hint: Hint | None = None) -> Any:
    """Return a value that the schema allows. ``hint`` may offer a string for a named property.

    Raises:
        BadRequestError: no value satisfies the schema, or none is found; names ``param``.

    """
    try:
        return _Maker(schema, dice, hint).value(schema, "", MOST_LEVELS)
    except NoValueError as error:
        raise BadRequestError(
            f"The built-in model finds no value for this schema: {error}.",
            code="unsupported_value",
            param=param,
        ) from error


class _Maker:
    """Makes one value; holds the root for references and what is left of the budget."""

    def __init__(self, root: Schema, dice: Dice, hint: Hint | None) -> None:
        self._root = root
        self._dice = dice
        self._hint = hint
        self._left = MOST_VALUES

    def value(self, schema: Any, name: str, levels: int) -> Any:
        self._left -= 1
        if self._left < 0 or levels <= 0:
            raise NoValueError("it is too large")
        if schema is False:
            raise NoValueError("it forbids every value")
        schema = self._resolve({} if schema is True else schema)
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self._first_branch(schema, keyword, name, levels)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._member(schema)
        return self._typed(schema, name, levels)

    def _resolve(self, schema: Schema) -> Schema:
        """Follow ``$ref`` and merge ``allOf`` until neither is left."""
        for _ in range(_MOST_REFERENCES):
            if "$ref" in schema:
                rest = {key: schema[key] for key in schema if key != "$ref"}
                schema = merged(self._refer(schema["$ref"]), rest)
            elif schema.get("allOf"):
                whole: Schema = {key: schema[key] for key in schema if key != "allOf"}
                for part in schema["allOf"]:
                    whole = merged(whole, as_object(part))
                schema = whole
            else:
                return schema
        raise NoValueError("its references go round in circles")

    def _refer(self, pointer: str) -> Schema:
        target: Any = self._root
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and key.isdecimal() and int(key) < len(target):
                target = target[int(key)]
            elif isinstance(target, dict) and key in target:
                target = target[key]
            else:
                raise NoValueError(f"{pointer[:60]} leads nowhere")
        if not pointer.startswith("#"):
            raise NoValueError(f"{pointer[:60]} is not in this schema")
        return as_object(target)

    def _first_branch(self, schema: Schema, keyword: str, name: str, levels: int) -> Any:
        rest = {key: schema[key] for key in schema if key != keyword}
        failure = NoValueError("it has no branch")
        branches = [merged(rest, as_object(branch)) for branch in schema[keyword]]
        if levels <= GENEROUS_LEVELS:
            branches.sort(key=reach)
        for branch in branches:
            try:
                return self.value(branch, name, levels - 1)
            except NoValueError as error:
                failure = error
        raise failure

    def _member(self, schema: Schema) -> Any:
        kinds = kinds_of(schema)
        members = [member for member in schema["enum"] if not kinds or is_of(member, kinds)]
        if not members:
            raise NoValueError("its enum has no member of its type")
        if self._hint is not None:
            hinted = self._hint("", schema)
            if hinted in members:
                return hinted
        return self._dice.pick(members)

    def _typed(self, schema: Schema, name: str, levels: int) -> Any:
        match likely_kind(schema):
            case "object":
                return self._object(schema, levels)
            case "array":
                return self._array(schema, name, levels)
            case "integer":
                return int(make_number(schema, self._dice, is_whole=True))
            case "number":
                value = make_number(schema, self._dice, is_whole=False)
                return int(value) if value.denominator == 1 else float(value)
            case "boolean":
                return self._dice.roll(2) == 0
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _string(self, schema: Schema, name: str) -> str:
        offered = self._hint(name, schema) if self._hint is not None else None
        text = make_string(schema, name, self._dice, offered=offered)
        if text is None:
            raise NoValueError(f"no string is found for {name[:60] or 'it'}")
        return text

    def _object(self, schema: Schema, levels: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = dict.fromkeys(schema.get("required", ()))
        others = schema.get("additionalProperties", True)
        made = {
            name: self.value(properties.get(name, others), name, levels - 1) for name in required
        }
        if levels > GENEROUS_LEVELS:
            most = schema.get("maxProperties", len(properties))
            for name, part in properties.items():
                if name not in made and len(made) < most and part is not False:
                    made[name] = self.value(part, name, levels - 1)
            made = {name: made[name] for name in (*properties, *made) if name in made}
        for place in range(schema.get("minProperties", 0) - len(made)):
            name = f"key_{place + 1}"
            made[name] = self.value(others, name, levels - 1)
        return made

    def _array(self, schema: Schema, name: str, levels: int) -> list[Any]:
        starts = schema.get("prefixItems", [])
        others = contained(schema)
        least = schema.get("minItems", 1 if "contains" in schema else 0)
        wished = max(least, len(starts) or 2) if levels > GENEROUS_LEVELS else least
        made: list[Any] = []
        for place in range(min(wished, schema.get("maxItems", wished))):
            part = starts[place] if place < len(starts) else others
            if part is False:
                break
            made.append(self._fresh(part, name, levels - 1, made, schema))
        if len(made) < least:
            raise NoValueError("its array allows too few items")
        return made

    def _fresh(self, part: Any, name: str, levels: int, others: list[Any], schema: Schema) -> Any:
        """Return another item, one that is not there yet where items must differ."""
        value = self.value(part, name, levels)
        if not schema.get("uniqueItems"):
            return value
        for _ in range(16 * (len(others) + 1)):
            if value not in others:
                return value
            value = self.value(part, name, levels)
        raise NoValueError("its items cannot all differ")

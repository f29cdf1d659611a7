"""Tools, the choice among them, and the form of the answer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.chat import PLAIN_TEXT, FormatKind, ResponseFormat, Tool, ToolMode
from gateway.dialects.json_schema import find_fault
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import missing, refusal, shown, unsupported, wrong_type

MOST_TOOLS = 128
MOST_NAME_LENGTH = 64
MOST_SCHEMA_LENGTH = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]+")
NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": MOST_NAME_LENGTH}
_OF_LENGTH = fields.limited_string(MOST_NAME_LENGTH)


@dataclass(frozen=True, slots=True)
class ToolSetting:
    """All tools that were defined, and which of them may or must be called."""

    defined: tuple[Tool, ...]
    callable: tuple[Tool, ...]
    mode: ToolMode


NO_TOOLS = ToolSetting((), (), ToolMode.NONE)


def parse_tools(wire: Mapping[str, Any]) -> ToolSetting:
    """Check ``tools`` and ``tool_choice``.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    tools = wire.get("tools")
    choice = wire.get("tool_choice")
    if not tools and tools != [] and tools is not None:
        raise wrong_type("tools", "an array", tools)
    if not tools and choice is None:
        return NO_TOOLS
    defined = _parse_definitions(tools) if tools else ()
    return _choose(defined, choice)


def _parse_definitions(wires: Any) -> tuple[Tool, ...]:
    fields.array("tools", wires)
    fields.at_most("tools", wires, MOST_TOOLS)
    return tuple([_parse_tool(wire, f"tools[{place}]") for place, wire in enumerate(wires)])


def _parse_tool(wire: Any, path: str) -> Tool:
    fields.mapping(path, wire)
    function = _function_of(wire, path)
    tool = parse_definition(function, f"{path}.function")
    marks = (wire.get("cache_control"), function.get("cache_control"))
    return replace(tool, ends_cache=True) if any(map(fields.is_cache_mark, marks)) else tool


def parse_definition(function: Mapping[str, Any], path: str) -> Tool:
    """Check the name, description and parameters of a function.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    name = required_name(function, path)
    description = fields.optional(function, "description", path, fields.string)
    strict = fields.optional(function, "strict", path, fields.boolean)
    parameters = fields.optional(function, "parameters", path, fields.mapping) or {}
    definition = _dump({"name": name, "description": description or "", "parameters": parameters})
    _check_schema(parameters, definition, f"{path}.parameters")
    if parameters.get("type", "object") != "object":
        raise refusal(
            f"{path}.parameters", "The parameters of a function must be a schema of type 'object'."
        )
    return Tool(name, parameters, definition, description or "", strict, path)


def _function_of(wire: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    kind = fields.required(wire, "type", path, fields.string)
    if kind == "custom":
        raise unsupported(f"{path}.type", "A tool of type 'custom'")
    fields.one_of("function")(f"{path}.type", kind)
    function: Mapping[str, Any] = fields.required(wire, "function", path, fields.mapping)
    return function


def required_name(holder: Mapping[str, Any], path: str) -> str:
    """Return a checked name: letters, digits, '_' and '-'."""
    name: str = fields.required(holder, "name", path, _OF_LENGTH)
    if not _NAME.fullmatch(name):
        raise refusal(
            f"{path}.name", f"Invalid '{path}.name': use letters, digits, '_' and '-' only."
        )
    return name


def _dump(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _check_schema(schema: Mapping[str, Any], definition: str, param: str) -> None:
    is_large = len(definition) > MOST_SCHEMA_LENGTH
    fault = "it is too large" if is_large else find_fault(schema)
    if fault is not None:
        raise refusal(param, f"Invalid schema for '{param}': {shown(fault)}.")


def _choose(defined: tuple[Tool, ...], choice: Any) -> ToolSetting:
    if choice is None:
        return ToolSetting(defined, defined, ToolMode.AUTO if defined else ToolMode.NONE)
    if type(choice) is str:
        fields.one_of("none", "auto", "required")("tool_choice", choice)
        mode = ToolMode(choice)
        if mode is ToolMode.REQUIRED and not defined:
            raise refusal("tool_choice", "'tool_choice' is only allowed when 'tools' are given.")
        return ToolSetting(defined, defined, mode if defined else ToolMode.NONE)
    if type(choice) is not dict:
        raise wrong_type("tool_choice", "a string or an object", choice)
    if choice.get("type") == "allowed_tools":
        return _choose_allowed(defined, choice)
    name = required_name(_function_of(choice, "tool_choice"), "tool_choice.function")
    return ToolSetting(defined, named(defined, (name,)), ToolMode.REQUIRED)


def _choose_allowed(defined: tuple[Tool, ...], choice: Mapping[str, Any]) -> ToolSetting:
    path = "tool_choice.allowed_tools"
    allowed = fields.required(choice, "allowed_tools", "tool_choice", fields.mapping)
    mode = fields.required(allowed, "mode", path, fields.one_of("auto", "required"))
    tools = fields.required(allowed, "tools", path, fields.array)
    names = []
    for place, tool in enumerate(tools):
        where = f"{path}.tools[{place}]"
        fields.mapping(where, tool)
        names.append(required_name(_function_of(tool, where), f"{where}.function"))
    if not names:
        raise refusal(f"{path}.tools", "The array of allowed tools is empty.", "empty_array")
    return ToolSetting(defined, named(defined, names), ToolMode(mode))


def named(
    defined: tuple[Tool, ...], names: Sequence[str], *, param: str = "tool_choice"
) -> tuple[Tool, ...]:
    """Return the named tools.

    Raises:
        BadRequestError: for a name that was not defined.

    """
    by_name = {tool.name: tool for tool in defined}
    is_legacy = param == "function_call"
    what, where = ("Function", "functions") if is_legacy else ("Tool choice", "tools")
    for name in names:
        if name not in by_name:
            raise refusal(param, f"{what} '{name}' not found in '{where}' parameter.")
    return tuple(by_name[name] for name in dict.fromkeys(names))


def parse_format(wire: Any) -> ResponseFormat:
    """Check ``response_format``.

    Raises:
        BadRequestError: an unknown type, a schema without a name or of a wrong shape.

    """
    if wire is None:
        return PLAIN_TEXT
    fields.mapping("response_format", wire)
    kinds = fields.one_of("text", "json_object", "json_schema")
    kind = FormatKind(fields.required(wire, "type", "response_format", kinds))
    if kind is FormatKind.TEXT:
        return PLAIN_TEXT
    if kind is FormatKind.JSON_OBJECT:
        return ResponseFormat(kind)
    path = "response_format.json_schema"
    holder = wire.get("json_schema")
    if holder is None:
        raise missing(path)
    fields.mapping(path, holder)
    return parse_schema_format(holder, path)


def parse_schema_format(holder: Mapping[str, Any], path: str) -> ResponseFormat:
    """Check the name and the schema of an answer's form.

    Raises:
        BadRequestError: no name, or a schema of a wrong shape.

    """
    name = required_name(holder, path)
    strict = fields.optional(holder, "strict", path, fields.boolean)
    description = fields.optional(holder, "description", path, fields.string) or ""
    schema = fields.optional(holder, "schema", path, fields.mapping) or {"type": "object"}
    definition = _dump(schema)
    _check_schema(schema, definition, f"{path}.schema")
    where = f"{path}.schema"
    return ResponseFormat(
        FormatKind.JSON_SCHEMA, schema, definition, where, name, description, strict
    )

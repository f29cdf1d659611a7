"""Tools, the choice among them, and the form of the answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.chat import PLAIN_TEXT, FormatKind, ResponseFormat, Tool, ToolMode
from gateway.dialects.anthropic import fields
from gateway.dialects.anthropic.blocks import check_cache_control
from gateway.dialects.anthropic.fields import refusal, shown
from gateway.dialects.json_schema import find_fault

MOST_SCHEMA_LENGTH = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME.pattern}$"}
EFFORT = fields.one_of("low", "medium", "high", "xhigh", "max")
MODES = {
    "auto": ToolMode.AUTO,
    "any": ToolMode.REQUIRED,
    "tool": ToolMode.REQUIRED,
    "none": ToolMode.NONE,
}


@dataclass(frozen=True, slots=True)
class ToolSetting:
    """All tools that were defined, which of them may or must be called, and how many at once."""

    defined: tuple[Tool, ...]
    callable: tuple[Tool, ...]
    mode: ToolMode
    are_parallel: bool = True


@dataclass(frozen=True, slots=True)
class OutputSetting:
    """The form of the text, and how much effort is wanted."""

    format: ResponseFormat
    effort: str | None


def parse_tools(wire: Mapping[str, Any]) -> ToolSetting:
    """Check ``tools`` and ``tool_choice``.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    tools = fields.optional(wire, "tools", "", fields.array) or []
    defined = tuple([_parse_tool(tool, f"tools.{place}") for place, tool in enumerate(tools)])
    by_name = {tool.name: tool for tool in defined}
    if len(by_name) < len(defined):
        raise refusal("tools", "Tool names must be unique")
    choice = fields.optional(wire, "tool_choice", "", fields.mapping)
    if choice is None:
        return ToolSetting(defined, defined, ToolMode.AUTO if defined else ToolMode.NONE)
    kind = fields.required(choice, "type", "tool_choice", fields.one_of(*MODES))
    alone = fields.optional(choice, "disable_parallel_tool_use", "tool_choice", fields.boolean)
    if kind in ("any", "tool") and not defined:
        raise refusal("tool_choice", "may only demand a tool while `tools` are given")
    wanted = defined
    if kind == "tool":
        name = fields.required(choice, "name", "tool_choice", fields.string)
        if name not in by_name:
            raise refusal("tool_choice.name", f"Tool '{shown(name)}' not found in provided tools")
        wanted = (by_name[name],)
    mode = MODES[kind] if defined else ToolMode.NONE
    return ToolSetting(defined, wanted, mode, alone is not True)


def _parse_tool(wire: Any, path: str) -> Tool:
    fields.mapping(path, wire)
    kind = fields.optional(wire, "type", path, fields.string)
    if kind not in (None, "custom"):
        raise refusal(
            f"{path}.type", f"The server tool '{shown(kind)}' is not supported by this server"
        )
    name = fields.required(wire, "name", path, fields.string)
    if not _NAME.fullmatch(name):
        raise refusal(f"{path}.name", f"String should match pattern '^{_NAME.pattern}$'")
    description = fields.optional(wire, "description", path, fields.string)
    strict = fields.optional(wire, "strict", path, fields.boolean)
    check_cache_control(wire, path)
    schema = fields.required(wire, "input_schema", path, fields.mapping)
    definition = _dump({"name": name, "description": description or "", "parameters": schema})
    check_schema(schema, definition, f"{path}.input_schema")
    if schema.get("type") != "object":
        raise refusal(f"{path}.input_schema.type", "Input should be 'object'")
    return Tool(name, schema, definition, description or "", strict, path)


def check_schema(schema: Mapping[str, Any], definition: str, path: str) -> None:
    """Check that a JSON Schema is one and not too large.

    Raises:
        BadRequestError: with the path and the fault.

    """
    is_large = len(definition) > MOST_SCHEMA_LENGTH
    fault = "it is too large" if is_large else find_fault(schema)
    if fault is not None:
        raise refusal(path, f"JSON schema is invalid: {shown(fault)}")


def parse_output(wire: Mapping[str, Any]) -> OutputSetting:
    """Check ``output_config``.

    Raises:
        BadRequestError: an unknown form or effort, a schema of a wrong shape.

    """
    config = fields.optional(wire, "output_config", "", fields.mapping)
    if config is None:
        return OutputSetting(PLAIN_TEXT, None)
    effort = fields.optional(config, "effort", "output_config", EFFORT)
    path = "output_config.format"
    form = fields.optional(config, "format", "output_config", fields.mapping)
    if form is None:
        return OutputSetting(PLAIN_TEXT, effort)
    fields.required(form, "type", path, fields.one_of("json_schema"))
    schema = fields.required(form, "schema", path, fields.mapping)
    definition = _dump(schema)
    path = f"{path}.schema"
    check_schema(schema, definition, path)
    return OutputSetting(ResponseFormat(FormatKind.JSON_SCHEMA, schema, definition, path), effort)


def _dump(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()

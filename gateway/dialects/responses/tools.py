"""Tools without a wrapping: name and parameters stand in the tool itself, as in the choice."""

from collections.abc import Mapping
from typing import Any

from gateway.chat import Tool, ToolMode
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import refusal, shown, unsupported, wrong_type
from gateway.dialects.openai.tools import (
    MOST_TOOLS,
    NO_TOOLS,
    ToolSetting,
    named,
    parse_definition,
    required_name,
)


def parse_tools(wire: Mapping[str, Any]) -> ToolSetting:
    """Check ``tools`` and ``tool_choice``.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    tools, choice = wire.get("tools"), wire.get("tool_choice")
    if tools is not None:
        fields.array("tools", tools)
        fields.at_most("tools", tools, MOST_TOOLS)
    defined = tuple(
        [_parse_tool(tool, f"tools[{place}]") for place, tool in enumerate(tools or ())]
    )
    if choice is None:
        return ToolSetting(defined, defined, ToolMode.AUTO) if defined else NO_TOOLS
    if type(choice) is str:
        fields.one_of("none", "auto", "required")("tool_choice", choice)
        if choice == "required" and not defined:
            raise refusal("tool_choice", "'tool_choice' is only allowed when 'tools' are given.")
        return ToolSetting(defined, defined, ToolMode(choice)) if defined else NO_TOOLS
    if type(choice) is not dict:
        raise wrong_type("tool_choice", "a string or an object", choice)
    return _choose(defined, choice)


def _parse_tool(wire: Any, path: str) -> Tool:
    fields.mapping(path, wire)
    _check_kind(wire, path)
    return parse_definition(wire, path)


def _check_kind(wire: Mapping[str, Any], path: str) -> None:
    kind = fields.required(wire, "type", path, fields.string)
    if kind != "function":
        raise unsupported(f"{path}.type", f"A tool of type '{shown(kind)}'")


def _choose(defined: tuple[Tool, ...], choice: Mapping[str, Any]) -> ToolSetting:
    if choice.get("type") != "allowed_tools":
        _check_kind(choice, "tool_choice")
        name = required_name(choice, "tool_choice")
        return ToolSetting(defined, named(defined, (name,)), ToolMode.REQUIRED)
    mode = fields.required(choice, "mode", "tool_choice", fields.one_of("auto", "required"))
    names = []
    for place, tool in enumerate(fields.required(choice, "tools", "tool_choice", fields.array)):
        where = f"tool_choice.tools[{place}]"
        fields.mapping(where, tool)
        _check_kind(tool, where)
        names.append(required_name(tool, where))
    if not names:
        raise refusal("tool_choice.tools", "The array of allowed tools is empty.", "empty_array")
    return ToolSetting(defined, named(defined, names), ToolMode(mode))

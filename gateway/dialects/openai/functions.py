"""Functions as they were before tools: at most one call an answer, without an id.

Inside they are tools; only the wire differs, on the way in and on the way out.
"""

from collections.abc import Mapping
from typing import Any

from gateway.chat import ChatRequest, Tool, ToolMode
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import refusal, wrong_type
from gateway.dialects.openai.tools import (
    MOST_TOOLS,
    NO_TOOLS,
    ToolSetting,
    named,
    parse_definition,
    required_name,
)


def has_functions(wire: Mapping[str, Any]) -> bool:
    """Tell whether a body asks in the old way."""
    return bool(wire.get("functions"))


def answers_with_functions(request: ChatRequest) -> bool:
    """Tell whether a call in the answer must have the old form."""
    return has_functions(request.wire)


def parse_functions(wire: Mapping[str, Any]) -> ToolSetting:
    """Check ``functions`` and ``function_call``.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    functions, choice = wire.get("functions"), wire.get("function_call")
    if functions is not None:
        fields.array("functions", functions)
        fields.at_most("functions", functions, MOST_TOOLS)
    if not functions:
        if choice not in (None, "none", "auto"):
            raise refusal(
                "function_call", "'function_call' is only allowed when 'functions' are given."
            )
        return NO_TOOLS
    _check_alone(wire)
    defined = tuple(
        [_parse_function(each, f"functions[{place}]") for place, each in enumerate(functions)]
    )
    return _choose(defined, choice)


def _check_alone(wire: Mapping[str, Any]) -> None:
    for newer in ("tools", "tool_choice"):
        if wire.get(newer):
            raise refusal(
                "functions", f"'functions' and '{newer}' are both given; give 'tools' alone."
            )


def _choose(defined: tuple[Tool, ...], choice: Any) -> ToolSetting:
    if choice is None:
        return ToolSetting(defined, defined, ToolMode.AUTO)
    if type(choice) is str:
        fields.one_of("none", "auto")("function_call", choice)
        return ToolSetting(defined, defined, ToolMode(choice))
    if type(choice) is not dict:
        raise wrong_type("function_call", "a string or an object", choice)
    name = required_name(choice, "function_call")
    return ToolSetting(defined, named(defined, (name,), param="function_call"), ToolMode.REQUIRED)


def _parse_function(wire: Any, path: str) -> Tool:
    fields.mapping(path, wire)
    return parse_definition(wire, path)

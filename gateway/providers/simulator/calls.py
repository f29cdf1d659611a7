"""Which tools the simulator calls, and with what.

When a call is demanded, a tool that fits is called, or the first. When it is free to choose, a tool
is called that plainly matches what the user said last: a word of its name occurs there, or two
words of its parameters and of the values to choose from. After a tool's result it answers in text.
Several calls are made only where parallel calls are allowed.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from gateway.chat import ChatRequest, Tool, ToolMode
from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.json_schemas import Schema
from gateway.providers.simulator.json_values import make_value
from gateway.providers.simulator.replies import last_user_text

MOST_CALLS = 4
_MOST_LOOKED_AT = 2_000
_MOST_NAMES = 200
_PLAIN_WORDS = 2
_LEAST_WORD = 3
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_TEXT_WORD = re.compile(r"[a-z0-9]+")
# Verbs and fillers say nothing about which tool is meant.
_EMPTY_WORDS = frozenset(
    {
        "about", "and", "are", "call", "can", "current", "fetch", "find", "for", "from", "function",
        "get", "has", "how", "list", "make", "new", "run", "set", "the", "tool", "use", "what",
        "with", "you",
    }
)  # fmt: skip
_PLACE = re.compile(
    r"\b(?:in|for|at|of|to|from|near)\s+((?:[A-Z][\w'.-]*)(?:\s+[A-Z][\w'.-]*){0,3}"
    r"(?:,\s+[A-Z][\w.]*)?)"
)
_PLACE_AND = re.compile(r"\s+and\s+((?:[A-Z][\w'-]*)(?:\s+[A-Z][\w'-]*){0,3})")
_PLACE_NAMES = frozenset({"location", "city", "place", "address", "destination", "region"})
_FREE_NAMES = frozenset(
    {"query", "q", "text", "question", "prompt", "input", "message", "search", "content", "topic"}
)


def choose_calls(request: ChatRequest, dice: Dice) -> list[tuple[str, str]]:
    """Return the calls as names and compact JSON arguments; none is an answer in text.

    Raises:
        BadRequestError: parameters for which no value is found.

    """
    if request.tool_mode is ToolMode.NONE or not request.tools:
        return []
    text = last_user_text(request)[:_MOST_LOOKED_AT]
    is_free = request.tool_mode is ToolMode.AUTO
    if is_free and request.messages[-1].role != "user":
        return []
    chosen = _matching(request.tools, text)
    if not chosen:
        if is_free:
            return []
        chosen = [request.tools[0]]
    places = _places(text)
    if len(chosen) == 1 and len(places) > 1 and _PLACE_NAMES & _properties(chosen[0]):
        wanted = [(chosen[0], place) for place in places]
    else:
        wanted = [(tool, places[0] if places else "") for tool in chosen]
    most = MOST_CALLS if request.parallel_tool_calls else 1
    return [(tool.name, _arguments(tool, text, place, dice)) for tool, place in wanted[:most]]


def _matching(tools: Sequence[Tool], text: str) -> list[Tool]:
    said = {_stem(word) for word in _TEXT_WORD.findall(text.lower())}
    return [
        tool
        for tool in tools
        if _telling_words([tool.name]) & said
        or len(_telling_words(_named_in(tool.parameters)) & said) >= _PLAIN_WORDS
    ]


def _telling_words(names: Iterable[str]) -> set[str]:
    words = (word.lower() for name in names for word in _NAME_WORD.findall(name))
    return {_stem(word) for word in words if len(word) >= _LEAST_WORD and word not in _EMPTY_WORDS}


def _named_in(schema: Schema) -> list[str]:
    """Return the names of properties and the values to choose from, wherever they stand in it."""
    found: list[str] = []
    ahead: list[Any] = [schema]
    while ahead and len(found) < _MOST_NAMES:
        part = ahead.pop()
        if isinstance(part, dict):
            ahead += part.values()
            if isinstance(named := part.get("properties"), dict):
                found += named
            if isinstance(values := part.get("enum"), list):
                found += [value for value in values if isinstance(value, str)]
        elif isinstance(part, list):
            ahead += part
    return found


def _stem(word: str) -> str:
    return word.removesuffix("s")


def _properties(tool: Tool) -> set[str]:
    return set(tool.parameters.get("properties", {}))


def _places(text: str) -> list[str]:
    """Return the names that stand after "in", "for" and the like, and after an "and" then."""
    found = _PLACE.search(text)
    if found is None:
        return []
    places = [found[1].rstrip(".")]
    end = found.end()
    while (more := _PLACE_AND.match(text, end)) is not None:
        places.append(more[1].rstrip("."))
        end = more.end()
    return places


def _arguments(tool: Tool, text: str, place: str, dice: Dice) -> str:
    def hint(name: str, schema: Schema) -> str | None:
        if "enum" in schema:
            return next(
                (word for word in schema["enum"] if str(word).lower() in text.lower()), None
            )
        if place and name.lower() in _PLACE_NAMES:
            return place
        return text.strip() or None if name.lower() in _FREE_NAMES else None

    schema = {**tool.parameters, "type": "object"}
    value = make_value(schema, dice, param="tools", hint=hint)
    return orjson.dumps(value).decode()

"""The blocks of a message: one parser per type, and who may say which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from gateway.chat import Media, Part, Thought, ToolCall
from gateway.dialects.anthropic import fields
from gateway.dialects.anthropic.fields import refusal, shown
from gateway.dialects.anthropic.media import parse_document, parse_image


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answered to a call."""

    call_id: str
    parts: tuple[Part, ...]
    is_error: bool


CACHE_TYPE = fields.one_of("ephemeral")
CACHE_TTL = fields.one_of("5m", "1h")
Block = str | Media | ToolCall | Thought | Result
_Parse = Callable[[Mapping[str, Any], str], tuple[Block, ...]]


def parse_content(
    content: Any, path: str, *, role: str, may_be_empty: bool
) -> list[tuple[str, Block]]:
    """Check the content of a message and return its blocks, each beside its path.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    if type(content) is str:
        if not content and not may_be_empty:
            raise refusal(path, "content must not be empty")
        return [(path, content)] if content else []
    if type(content) is not list:
        raise refusal(path, "Input should be a valid string or an array of content blocks")
    if not content and not may_be_empty:
        raise refusal(path, "content must have at least one block")
    found: list[tuple[str, Block]] = []
    for place, block in enumerate(content):
        where = f"{path}.{place}"
        found += [(where, parsed) for parsed in _parse_block(block, where, _SAYS[role])]
    return found


def parse_texts(content: Any, path: str) -> tuple[str, ...]:
    """Check what may be a string or text blocks, and return the texts."""
    found = parse_content(content, path, role="system", may_be_empty=False)
    return tuple(block for _, block in found if isinstance(block, str))


def _parse_block(block: Any, path: str, kinds: Mapping[str, _Parse]) -> tuple[Block, ...]:
    fields.mapping(path, block)
    kind = fields.required(block, "type", path, fields.string)
    parse = kinds.get(kind)
    if parse is None:
        expected = ", ".join(f"'{name}'" for name in kinds)
        raise refusal(
            f"{path}.type", f"Input tag '{shown(kind)}' does not match any of: {expected}"
        )
    check_cache_control(block, path)
    return parse(block, path)


def check_cache_control(holder: Mapping[str, Any], path: str) -> None:
    """Check ``cache_control``, which is accepted and has no effect of its own here."""
    control = fields.optional(holder, "cache_control", path, fields.mapping)
    if control is not None:
        path = f"{path}.cache_control" if path else "cache_control"
        fields.required(control, "type", path, CACHE_TYPE)
        fields.optional(control, "ttl", path, CACHE_TTL)


def _parse_text(block: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    text: str = fields.required(block, "text", path, fields.string)
    if not text:
        raise refusal(f"{path}.text", "text content blocks must be non-empty")
    return (text,)


def _parse_image(block: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    return (parse_image(block, path),)


def _parse_call(block: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    call_id = fields.required(block, "id", path, fields.string)
    if not call_id:
        raise refusal(f"{path}.id", "String should have at least 1 character")
    name = fields.required(block, "name", path, fields.string)
    arguments = fields.required(block, "input", path, fields.mapping)
    return (ToolCall(call_id, name, orjson.dumps(arguments).decode()),)


def _parse_result(block: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    call_id = fields.required(block, "tool_use_id", path, fields.string)
    is_error = fields.optional(block, "is_error", path, fields.boolean) is True
    content = block.get("content")
    parts: list[Part] = []
    if type(content) is str:
        parts = [content] if content else []
    elif content is not None:
        fields.array(f"{path}.content", content)
        for place, inner in enumerate(content):
            for parsed in _parse_block(inner, f"{path}.content.{place}", _IN_RESULTS):
                assert isinstance(parsed, str | Media), "results hold texts and media only"
                parts.append(parsed)
    return (Result(call_id, tuple(parts), is_error),)


def _parse_thinking(block: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    text = fields.required(block, "thinking", path, fields.string)
    signature = fields.required(block, "signature", path, fields.string)
    return (Thought(text, signature),)


def _parse_redacted(block: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    return (Thought("", sealed=fields.required(block, "data", path, fields.string)),)


_IN_RESULTS: Mapping[str, _Parse] = MappingProxyType(
    {"text": _parse_text, "image": _parse_image, "document": parse_document}
)
_SAYS: Mapping[str, Mapping[str, _Parse]] = MappingProxyType(
    {
        "system": {"text": _parse_text},
        "user": {**_IN_RESULTS, "tool_result": _parse_result},
        "assistant": {
            "text": _parse_text,
            "tool_use": _parse_call,
            "thinking": _parse_thinking,
            "redacted_thinking": _parse_redacted,
        },
    }
)

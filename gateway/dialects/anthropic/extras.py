"""Fields of messages that not every upstream can be told; most are left alone.

Every multiplier of cost is in the hold or refused: what Anthropic bills at another price than that
of its tokens is not sent there. What would make another answer is not sent to others.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.chat import Extra

_UNPRICED: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
# Elsewhere it neither costs nor says anything.
_DEAR_HERE: Mapping[str, Mapping[str, Any]] = MappingProxyType({"openai": {}})
_HERE: Mapping[str, Mapping[str, Any]] = MappingProxyType({"anthropic": {}})
_LONG = "1h"


def find_extras(wire: Mapping[str, Any]) -> tuple[Extra, ...]:
    """Return those of a checked body."""
    return (*_find_fields(wire), *_find_long_caches(wire), *_find_in_messages(wire["messages"]))


def _find_fields(wire: Mapping[str, Any]) -> Iterator[Extra]:
    if wire.get("mcp_servers"):
        yield Extra("mcp_servers", "A server of tools", _UNPRICED)
    if wire.get("inference_geo") not in (None, "global"):
        yield Extra("inference_geo", "A place to be served in", _UNPRICED)
    if wire.get("speed") == "fast":
        yield Extra("speed", "The speed 'fast'", _DEAR_HERE)
    edits = wire.get("context_management")
    if edits is not None and not _clears_thinking_only(edits):
        yield Extra("context_management", "An edit of the context", _HERE)


def _clears_thinking_only(edits: Any) -> bool:
    """Tell whether nothing is edited but earlier thinking, which goes to no other upstream."""
    listed = edits.get("edits") if isinstance(edits, dict) else None
    return isinstance(listed, list) and all(
        isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking")
        for edit in listed
    )


def _find_long_caches(wire: Mapping[str, Any]) -> Iterator[Extra]:
    if _is_long(wire):
        yield _long_cache("")
    for name in ("tools", "system"):
        blocks = wire.get(name)
        for place, block in enumerate(blocks if type(blocks) is list else ()):
            if _is_long(block):
                yield _long_cache(f"{name}.{place}.")


def _find_in_messages(messages: list[Any]) -> Iterator[Extra]:
    for place, message in enumerate(messages):
        if type(message["content"]) is list:
            yield from _find_in_blocks(message["content"], f"messages.{place}.content")
    if message["role"] == "assistant" and message["content"]:
        yield Extra(f"messages.{place}", "The beginning of an answer", _HERE)


def _find_in_blocks(blocks: list[Any], path: str) -> Iterator[Extra]:
    for place, block in enumerate(blocks):
        if _is_long(block):
            yield _long_cache(f"{path}.{place}.")
        kind = block["type"]
        if kind == "document" and (block.get("citations") or {}).get("enabled"):
            yield Extra(f"{path}.{place}.citations", "The wish for citations", _HERE)
        elif kind == "tool_result" and type(block.get("content")) is list:
            yield from _find_in_blocks(block["content"], f"{path}.{place}.content")


def _is_long(holder: Mapping[str, Any]) -> bool:
    control = holder.get("cache_control")
    return control is not None and control.get("ttl") == _LONG


def _long_cache(path: str) -> Extra:
    what = f"A cache of {_LONG}, whose writing costs twice the price,"
    return Extra(f"{path}cache_control.ttl", what, _DEAR_HERE)

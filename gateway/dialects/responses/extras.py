"""Fields of responses that only chat completions have words for, as those say them."""

from collections.abc import Mapping
from typing import Any

from gateway.chat import Extra
from gateway.dialects.openai.extras import dear_tier, is_dear

# They label, remember or order; the answer is the same without them.
_LABELS = (
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "user",
)


def find_extras(wire: Mapping[str, Any]) -> tuple[Extra, ...]:
    """Return those of a checked body."""
    found = [_label(name, wire[name]) for name in _LABELS if wire.get(name) is not None]
    if wire.get("metadata") and wire.get("store"):  # OpenAI takes them for what is stored alone
        found.append(_label("metadata", wire["metadata"]))
    tier = wire.get("service_tier")
    if tier is not None:
        found.append(dear_tier(tier) if is_dear(tier) else _label("service_tier", tier))
    verbosity = (wire.get("text") or {}).get("verbosity")
    if verbosity is not None:
        said = {"openai": {"verbosity": verbosity}}
        found.append(Extra("text.verbosity", "A verbosity", said))
    effort = (wire.get("reasoning") or {}).get("effort")
    if effort == "minimal":  # less than the neutral words know
        said = {"openai": {"reasoning_effort": effort}, "anthropic": {}}
        found.append(Extra("reasoning.effort", "An effort", said))
    return tuple(found)


def _label(name: str, value: Any) -> Extra:
    said = {"openai": {name: value}, "anthropic": {}}
    return Extra(name, f"The field '{name}'", said)

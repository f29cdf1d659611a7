"""Anthropic's figures: what was cached stands beside the input, thinking is part of the output."""

from typing import Any, TypeGuard

from billing.usage import NO_USAGE, Usage


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return the figures of a call; thinking is split off where there was any."""
    wire: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens - usage.cached_input - usage.cache_write,
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached_input,
    }
    if usage.reasoning:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return wire


def parse_usage(wire: object) -> Usage | None:
    """Return the figures in disjoint buckets; none of them where they cannot be true.

    None where there are no figures at all.
    """
    if not isinstance(wire, dict) or not wire:
        return None
    read, output = wire.get("input_tokens"), wire.get("output_tokens")
    cached = wire.get("cache_read_input_tokens") or 0
    written = wire.get("cache_creation_input_tokens") or 0
    details = wire.get("output_tokens_details")
    thinking = (details.get("thinking_tokens") or 0) if isinstance(details, dict) else 0
    if not (is_count(read) and is_count(output) and is_count(cached) and is_count(written)):
        return NO_USAGE
    if not is_count(thinking) or thinking > output:
        return NO_USAGE
    return Usage(
        input=read,
        cached_input=cached,
        cache_write=written,
        output=output - thinking,
        reasoning=thinking,
        request=1,
    )


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a provider's figure can be a number of tokens."""
    return type(value) is int and 0 <= value <= 10**12  # beyond any context

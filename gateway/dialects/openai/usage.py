"""OpenAI's figures: the prompt contains what was cached, the completion what was thought."""

from typing import Any, TypeGuard

from billing.usage import NO_USAGE, Usage


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's figures: the prompt with what was cached, the completion with reasoning."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    written = {"cache_write_tokens": usage.cache_write} if usage.cache_write else {}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            **written,
            "audio_tokens": usage.audio_input,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def count_unseen(wire: object) -> object:
    """Return figures whose completion has all that was thought.

    What a total has beyond prompt and completion was thought: Gemini counts thoughts there alone.
    """
    if not isinstance(wire, dict):
        return wire
    prompt, completion = wire.get("prompt_tokens"), wire.get("completion_tokens")
    total, spoken = wire.get("total_tokens"), wire.get("completion_tokens_details")
    thought = _part(spoken, "reasoning_tokens")
    if not (is_count(prompt) and is_count(completion) and is_count(total) and is_count(thought)):
        return wire
    unseen = total - prompt - completion
    if unseen <= 0:
        return wire
    details = spoken if isinstance(spoken, dict) else {}
    return {
        **wire,
        "completion_tokens": completion + unseen,
        "completion_tokens_details": {**details, "reasoning_tokens": max(thought, unseen)},
    }


def parse_usage(wire: object) -> Usage | None:
    """Return the figures in disjoint buckets; none of them where they cannot be true.

    None where there are no figures at all. Sound that was cached counts as cached.
    """
    wire = count_unseen(wire)
    if not isinstance(wire, dict) or not wire:
        return None
    read, spoken = wire.get("prompt_tokens_details"), wire.get("completion_tokens_details")
    prompt, completion = wire.get("prompt_tokens"), wire.get("completion_tokens")
    cached, written = _part(read, "cached_tokens"), _part(read, "cache_write_tokens")
    heard, said = _part(read, "audio_tokens"), _part(spoken, "audio_tokens")
    thought = _part(spoken, "reasoning_tokens")
    if not (is_count(prompt) and is_count(completion) and is_count(cached) and is_count(written)):
        return NO_USAGE
    if not (is_count(heard) and is_count(said) and is_count(thought)):
        return NO_USAGE
    plain = prompt - cached - written
    if plain < 0 or heard > prompt or thought + said > completion:
        return NO_USAGE
    return Usage(
        input=plain - min(heard, plain),
        cached_input=cached,
        cache_write=written,
        output=completion - thought - said,
        reasoning=thought,
        audio_input=min(heard, plain),
        audio_output=said,
        request=1,
    )


def _part(details: object, name: str) -> object:
    value = details.get(name) if isinstance(details, dict) else None
    return 0 if value is None else value


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a provider's figure can be a number of tokens."""
    return type(value) is int and 0 <= value <= 10**12  # beyond any context

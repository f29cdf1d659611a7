"""Our own count of what an OpenAI server says, whole or in pieces, in whichever field. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.tokenizer import count_tokens

# Where a message says something, beside its content.
_OTHERS = ("reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")


def count_chunk(chunk: Mapping[str, Any]) -> int:
    return sum(count_message(choice["delta"]) for choice in chunk["choices"])


def count_message(said: object) -> int:
    """Return our own count of a message, or of a piece of one."""
    if not isinstance(said, dict):
        return 0
    content = said.get("content")
    if type(content) is str and (len(said) == 1 or not any(map(said.get, _OTHERS))):
        return count_tokens(content)
    return sum(map(count_tokens, _texts_in(said)))


def _texts_in(said: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts_of(said.get("content"))
    yield from _texts_of(said.get("reasoning_content") or said.get("reasoning"))
    yield from _texts_of(said.get("refusal"))
    calls = said.get("tool_calls")
    functions = [call.get("function") for call in objects_in(calls)]
    for function in objects_in([*functions, said.get("function_call")]):
        yield from _texts_of(function.get("arguments"))


def _texts_of(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in objects_in(content):
        yield from _texts_of(part.get("text") or part.get("thinking"))


def objects_in(values: object) -> list[dict[str, Any]]:
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, dict)]

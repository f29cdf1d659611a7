"""The neutral words of a conversation: what dialects parse into and render from. Pure.

A request is parsed once; billing and routing read the same parsed object. Providers answer with a
stream of events, also for calls that are not streamed to the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from billing.usage import Usage


class StopReason(StrEnum):
    """Why a choice ended."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``text`` joins the text parts in order."""

    role: str
    text: str
    name: str | None = None
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. ``wire`` is the parsed body itself, for upstreams of the same dialect."""

    model: str
    messages: tuple[Message, ...]
    wire: Mapping[str, Any]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a choice's text and the tokens it is made of."""

    choice: int
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ChoiceFinished:
    choice: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The provider's own figures, once, after the last choice has finished."""

    usage: Usage


StreamEvent = TextDelta | ChoiceFinished | UsageReported


@dataclass(frozen=True, slots=True)
class Answer:
    """The identity every frame of one answer shares. ``created`` is Unix seconds."""

    completion_id: str
    model: str
    created: int
    fingerprint: str

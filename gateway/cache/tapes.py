"""What a provider said, recorded as it is relayed, and played again. Pure.

A tape is one letter and the rest: ``b`` and the bytes, where the provider speaks the caller's
dialect; else ``e`` and neutral events, a line for each batch, an event as its kind and its fields.
"""

import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import orjson

from billing.usage import Usage
from gateway.chat import (
    ChoiceFinished,
    Embedded,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    TokenOdds,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from gateway.providers.base import ByteUpstream, EventUpstream, Upstream

MOST_BYTES = 256 * 1024
_PIECE_BYTES = 32 * 1024
_BYTES, _EVENTS = b"b", b"e"


class Tape:
    """What was said so far, as far as it is worth keeping. ``is_whole`` once the upstream ended."""

    def __init__(self, kind: bytes) -> None:
        self.is_whole = False
        self._parts = [kind]
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= MOST_BYTES:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def content(self) -> bytes | None:
        """The whole of it, None where that is too much or not all."""
        return b"".join(self._parts) if self.is_whole and self._size <= MOST_BYTES else None


class RecordedBytes:
    """An upstream whose bytes are noted down as they pass."""

    speaks_events: Literal[False] = False

    def __init__(self, upstream: ByteUpstream, tape: Tape) -> None:
        self._upstream = upstream
        self._tape = tape

    def take_whole(self) -> bytes | None:
        return None  # it is noted down as it is read

    async def read(self) -> bytes:
        data = await self._upstream.read()
        if data:
            self._tape.add(data)
        else:
            self._tape.is_whole = True
        return data

    async def aclose(self) -> None:
        await self._upstream.aclose()


class RecordedEvents:
    """An upstream whose events are noted down as they pass."""

    speaks_events: Literal[True] = True

    def __init__(self, upstream: EventUpstream, tape: Tape) -> None:
        self._upstream = upstream
        self._tape = tape

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        async for batch in self._upstream.batches():
            self._tape.add(_render_batch(batch))
            yield batch
        self._tape.is_whole = True

    async def aclose(self) -> None:
        await self._upstream.aclose()


class PlayedBytes:
    """What a provider said in the caller's dialect, said again."""

    speaks_events: Literal[False] = False

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take_whole(self) -> bytes | None:
        return self._content

    async def read(self) -> bytes:
        start, self._place = self._place, self._place + _PIECE_BYTES
        return self._content[start : self._place]

    async def aclose(self) -> None:
        pass


class PlayedEvents:
    """What a provider said, again in the batches it came in."""

    speaks_events: Literal[True] = True

    def __init__(self, batches: Sequence[Sequence[StreamEvent]]) -> None:
        self._batches = batches

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        for batch in self._batches:
            yield batch

    async def aclose(self) -> None:
        pass


def record(upstream: Upstream) -> tuple[Upstream, Tape]:
    """Return an upstream that says the same, and the tape it leaves."""
    if upstream.speaks_events:
        tape = Tape(_EVENTS)
        return RecordedEvents(upstream, tape), tape
    tape = Tape(_BYTES)
    return RecordedBytes(upstream, tape), tape


def play(content: bytes) -> Upstream:
    """Return an upstream that says what a tape holds.

    Raises:
        ValueError, KeyError, TypeError: for a tape of another form, as an earlier release wrote it.

    """
    kind, said = content[:1], content[1:]
    if kind == _BYTES:
        return PlayedBytes(said)
    if kind != _EVENTS:
        raise ValueError("no tape")
    return PlayedEvents([_parse_batch(line) for line in said.splitlines()])


def _render_batch(batch: Sequence[StreamEvent]) -> bytes:
    rows = [
        [type(event).__name__, *(getattr(event, each.name) for each in fields(event))]
        for event in batch
    ]
    return orjson.dumps(rows, default=_render_other) + b"\n"


def _render_other(value: object) -> str | dict[str, int]:
    if isinstance(value, Usage):
        return value.as_dict()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError


def _parse_batch(line: bytes) -> Sequence[StreamEvent]:
    return [_PARSERS[kind](*values) for kind, *values in orjson.loads(line)]


def _parse_text(
    choice: int, text: str, tokens: int, odds: Sequence[Mapping[str, Any]]
) -> TextDelta:
    return TextDelta(choice, text, tokens, tuple(map(_parse_odds, odds)))


def _parse_odds(row: Mapping[str, Any]) -> TokenOdds:
    return TokenOdds(row["token"], row["logprob"], tuple(map(_parse_odds, row["top"])))


def _parse_finish(choice: int, reason: str, stop_sequence: str | None) -> ChoiceFinished:
    return ChoiceFinished(choice, StopReason(reason), stop_sequence)


def _parse_vector(place: int, vector: str) -> Embedded:
    return Embedded(place, base64.b64decode(vector, validate=True))


def _parse_usage(buckets: Mapping[str, int]) -> UsageReported:
    return UsageReported(Usage(**buckets))


_PARSERS: Mapping[str, Callable[..., StreamEvent]] = {
    "ThinkingDelta": ThinkingDelta,
    "ThinkingEnded": ThinkingEnded,
    "TextDelta": _parse_text,
    "ToolCallStarted": ToolCallStarted,
    "ToolCallDelta": ToolCallDelta,
    "ChoiceFinished": _parse_finish,
    "Embedded": _parse_vector,
    "UsageReported": _parse_usage,
}

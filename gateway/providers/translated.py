"""Answers of an upstream that speaks another dialect than the caller: neutral events between.

1. The request was rendered in the upstream's dialect, and the answer is always a stream.
2. ``batches`` reads events as they come; filters do here what the upstream could not be asked for.
3. An answer that a filter ends early ends the upstream's work with it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Literal, Protocol

import orjson

from billing.usage import NO_USAGE, Usage
from gateway.chat import ChoiceFinished, StopReason, StreamEvent, TextDelta, UsageReported
from gateway.providers.base import ByteUpstream
from kernel.errors import BadRequestError, TollgateError, UpstreamError

MOST_ANSWER_BYTES = 64 * 2**20


class Reader(Protocol):
    """Reads a stream's bytes as events, the same however they are cut."""

    is_done: bool
    fault: TollgateError | None

    def feed(self, data: bytes) -> list[StreamEvent]: ...


class Filter(Protocol):
    """Changes events on their way; ``is_cut`` once nothing more may be said.

    What it says before a fault goes out first, as with a reader.
    """

    is_cut: bool
    fault: TollgateError | None

    def feed(self, events: Iterable[StreamEvent]) -> list[StreamEvent]: ...


class JsonCheck:
    """Holds an upstream to its word where only an instruction asked for a JSON object."""

    def __init__(self) -> None:
        self.is_cut = False
        self.fault: TollgateError | None = None
        self._texts: list[str] = []

    def feed(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        """Pass events on, as far as a whole answer that is no JSON object: that is a fault."""
        passed: list[StreamEvent] = []
        for event in events:
            if isinstance(event, TextDelta):
                self._texts.append(event.text)
            elif self._is_wrong_end(event):
                self.fault = UpstreamError(
                    "The model's provider did not answer with a JSON object."
                )
                return passed
            passed.append(event)
        return passed

    def _is_wrong_end(self, event: StreamEvent) -> bool:
        if not isinstance(event, ChoiceFinished) or event.reason is not StopReason.END:
            return False
        try:
            return not isinstance(orjson.loads("".join(self._texts)), dict)
        except ValueError:
            return True


class TranslatedUpstream:
    """One opened answer, read as events."""

    speaks_events: Literal[True] = True

    def __init__(
        self, upstream: ByteUpstream, reader: Reader, filters: Sequence[Filter] = ()
    ) -> None:
        self._upstream = upstream
        self._reader = reader
        self._filters = filters
        self._size = 0

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """Yield events as they come.

        Raises:
            TollgateError: when the upstream fails, stalls, or ends before its answer does.

        """
        while data := await self._upstream.read():
            events = self._read(data)
            if events:
                yield events
            if any(each.is_cut for each in self._filters):
                return
            self._check_faults()
        if not self._reader.is_done:
            raise UpstreamError("The model's provider broke off its answer.")

    def _read(self, data: bytes) -> list[StreamEvent]:
        self._size += len(data)
        if self._size > MOST_ANSWER_BYTES:
            raise UpstreamError("The model's provider sent an endless answer.")
        events = self._reader.feed(data)
        for each in self._filters:
            events = each.feed(events)
        return events

    def _check_faults(self) -> None:
        for fault in (*(each.fault for each in self._filters), self._reader.fault):
            if fault is not None:
                raise fault

    async def aclose(self) -> None:
        await self._upstream.aclose()


async def open_translated(
    opening: Awaitable[ByteUpstream], reader: Reader, filters: Sequence[Filter] = ()
) -> TranslatedUpstream:
    """Await an upstream's good status and return its answer as events.

    Raises:
        TollgateError: as ``Provider.open``; a field it finds fault with is not named, since that
            would be in its words and not in the caller's.

    """
    try:
        return TranslatedUpstream(await opening, reader, filters)
    except BadRequestError as error:
        raise BadRequestError(error.message, code=error.code) from error


class ChoiceByChoice:
    """Several choices from an upstream that makes one a call: one after another, one usage.

    The prompt counts once, as everywhere; without the figures of every call there are none.
    """

    speaks_events: Literal[True] = True

    def __init__(
        self,
        first: TranslatedUpstream,
        choices: int,
        open_choice: Callable[[int], Awaitable[TranslatedUpstream]],
    ) -> None:
        self._current = first
        self._choices = choices
        self._open_choice = open_choice

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """Yield the events of choice after choice."""
        reported: list[Usage] = []
        for choice in range(self._choices):
            if choice:
                await self._current.aclose()
                self._current = await self._open_choice(choice)
            async for events in self._current.batches():
                reported += [event.usage for event in events if isinstance(event, UsageReported)]
                yield [event for event in events if not isinstance(event, UsageReported)]
        if len(reported) == self._choices:
            yield [UsageReported(_add_up(reported))]

    async def aclose(self) -> None:
        await self._current.aclose()


def _add_up(reported: Sequence[Usage]) -> Usage:
    if NO_USAGE in reported:
        return NO_USAGE
    first = reported[0]
    return Usage(
        input=first.input,
        cached_input=first.cached_input,
        cache_write=first.cache_write,
        output=sum(usage.output for usage in reported),
        reasoning=sum(usage.reasoning for usage in reported),
        request=1,
    )

"""A tape plays what was recorded, event by event, and only what was said to its end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.usage import BUCKETS, Usage
from gateway.cache.tapes import MOST_BYTES, play, record
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
from gateway.providers.base import Upstream

small, text = st.integers(0, 9), st.text(st.characters(codec="utf-8"), max_size=20)
logprobs = st.floats(-100, 0, allow_nan=False)
odds = st.builds(
    TokenOdds, text, logprobs, st.tuples(st.builds(TokenOdds, text, logprobs)) | st.just(())
)
events: st.SearchStrategy[StreamEvent] = st.one_of(
    st.builds(ThinkingDelta, small, text, small),
    st.builds(ThinkingEnded, small, text, text, small),
    st.builds(TextDelta, small, text, small, st.tuples(odds) | st.just(())),
    st.builds(ToolCallStarted, small, small, text, text, small),
    st.builds(ToolCallDelta, small, small, text, small),
    st.builds(ChoiceFinished, small, st.sampled_from(StopReason), text | st.none()),
    st.builds(Embedded, small, st.binary(max_size=20)),
    st.builds(UsageReported, st.builds(Usage, **dict.fromkeys(BUCKETS, small))),
)


class Events:
    speaks_events: Literal[True] = True

    def __init__(self, batches: Sequence[Sequence[StreamEvent]]) -> None:
        self.said = batches

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        for batch in self.said:
            yield batch

    async def aclose(self) -> None:
        pass


class Bytes:
    speaks_events: Literal[False] = False

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.said = iter(pieces)

    def take_whole(self) -> bytes | None:
        return None

    async def read(self) -> bytes:
        return next(self.said, b"")

    async def aclose(self) -> None:
        pass


async def hear(upstream: Upstream) -> list[Any]:
    if upstream.speaks_events:
        return [list(batch) async for batch in upstream.batches()]
    pieces = []
    while piece := await upstream.read():
        pieces.append(piece)
    return pieces


@given(st.lists(st.lists(events, max_size=4), max_size=4))
def test_every_event_comes_back_as_it_was_in_its_batch(batches: list[list[StreamEvent]]) -> None:
    recorded, tape = record(Events(batches))

    heard = asyncio.run(hear(recorded))

    assert heard == batches
    assert tape.content is not None
    assert asyncio.run(hear(play(tape.content))) == batches


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=4))
def test_bytes_come_back_as_they_were(pieces: list[bytes]) -> None:
    recorded, tape = record(Bytes(pieces))

    heard = asyncio.run(hear(recorded))

    assert heard == pieces
    assert tape.content is not None
    assert b"".join(asyncio.run(hear(play(tape.content)))) == b"".join(pieces)


async def test_large_answers_are_played_in_pieces() -> None:
    pieces = await hear(play(b"b" + b"x" * 100_000))

    assert [len(piece) for piece in pieces] == [32_768, 32_768, 32_768, 1_696]


async def test_what_was_not_heard_to_its_end_is_no_tape() -> None:
    recorded, tape = record(Bytes([b"a", b"b"]))
    assert not recorded.speaks_events

    await recorded.read()

    assert tape.content is None


async def test_the_largest_answer_is_kept_and_one_byte_more_is_not() -> None:
    for size, is_kept in ((MOST_BYTES, True), (MOST_BYTES + 1, False)):
        recorded, tape = record(Bytes([b"x" * (size - 1), b"x"]))
        await hear(recorded)
        assert (tape.content is not None) is is_kept


@pytest.mark.parametrize("content", [b"", b"x", b"e5", b'e[["Unknown",1]]', b"e[[]]", b"e\xff"])
def test_a_tape_of_another_form_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        play(content)

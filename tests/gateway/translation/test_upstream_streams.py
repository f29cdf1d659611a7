"""Upstream streams as events: the same however the bytes are cut, and never half a JSON."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.pricing import Price
from billing.usage import Evidence, Usage
from gateway.chat import (
    Answer,
    StreamEvent,
)
from gateway.dialects import anthropic, openai
from gateway.dialects.anthropic.incoming import EventReader as AnthropicReader
from gateway.dialects.anthropic.passthrough import PassThroughStream
from gateway.dialects.openai.incoming import EventReader as OpenAIReader
from gateway.dialects.receipts import Receipt
from gateway.providers.translated import Reader
from kernel.errors import TollgateError, UpstreamError
from tests.gateway.dialects import anthropic_asking, asking
from tests.gateway.translation.transcripts import (
    ANTHROPIC,
    EVENTS,
    OPENAI,
    SIGNED,
    anthropic_start,
    read_parts,
)

ANSWER = Answer("msg_ours", "public", 1, "fp", "req_1", 9)
RECEIPT = Receipt(
    Usage(input=1, output=1, request=1),
    Price(1, Usage(input=1_000_000)).charge(Usage(input=1)),
    Evidence.PROVIDER,
)
CUTS = st.lists(st.integers(0, 6000), max_size=12)
READERS = pytest.mark.parametrize(
    ("reader", "transcript", "events"),
    [
        (AnthropicReader, ANTHROPIC, EVENTS),
        (OpenAIReader, OPENAI, tuple(event for event in EVENTS if event is not SIGNED)),
    ],
)
Make = Callable[[], Reader]


def parts_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@READERS
@given(cuts=CUTS, crlf=st.booleans())
def test_a_stream_split_at_any_bytes_makes_the_same_events(
    reader: Make, transcript: bytes, events: Any, cuts: list[int], *, crlf: bool
) -> None:
    data = transcript.replace(b"\n", b"\r\n") if crlf else transcript
    reading = reader()

    assert tuple(read_parts(reading, parts_of(data, cuts))) == events
    assert reading.is_done
    assert reading.fault is None


@READERS
@given(cuts=CUTS, place=st.integers(0, 6000), junk=st.binary(min_size=1, max_size=4))
@settings(max_examples=200)
def test_a_mutated_stream_is_a_fault_or_passes_and_its_frames_are_whole(
    reader: Make, transcript: bytes, events: Any, cuts: list[int], place: int, junk: bytes
) -> None:
    place %= len(transcript)
    mutated = transcript[:place] + junk + transcript[place + len(junk) :]
    at_once, in_parts = reader(), reader()

    said = read_parts(at_once, [mutated])

    assert read_parts(in_parts, parts_of(mutated, cuts)) == said
    assert (at_once.is_done, type(at_once.fault)) == (in_parts.is_done, type(in_parts.fault))
    fault = at_once.fault
    if fault is None and not at_once.is_done:
        fault = UpstreamError("It broke off.")
    for frames in (as_anthropic(said, fault), as_openai(said, fault)):
        check_frames(frames, fault)


def as_anthropic(said: Sequence[StreamEvent], fault: TollgateError | None) -> bytes:
    stream = anthropic.DIALECT.open_stream(anthropic_asking.ask(stream=True), ANSWER)
    return stream.render(said) + (stream.fail(fault) if fault else stream.finish(RECEIPT))


def as_openai(said: Sequence[StreamEvent], fault: TollgateError | None) -> bytes:
    stream = openai.DIALECT.open_stream(asking.ask(stream=True), ANSWER)
    return stream.render(said) + (stream.fail(fault) if fault else stream.finish(RECEIPT))


def check_frames(frames: bytes, fault: TollgateError | None) -> None:
    """Check that every frame is whole JSON, and that a fault is said last."""
    bodies = []
    for frame in frames.removesuffix(b"\n\n").split(b"\n\n"):
        data = frame.rpartition(b"\n")[2].removeprefix(b"data: ")
        if data != b"[DONE]":
            bodies.append(orjson.loads(data))
    assert bool(bodies and bodies[-1].get("error")) is (fault is not None)


def passed(parts: Sequence[bytes]) -> tuple[bytes, PassThroughStream]:
    stream = PassThroughStream(ANSWER)
    frames = b""
    try:
        for part in parts:
            frames += stream.feed(part)
    except TollgateError:
        pass
    return frames, stream


@given(cuts=CUTS, crlf=st.booleans())
def test_a_stream_of_the_same_dialect_passes_as_it_came(cuts: list[int], *, crlf: bool) -> None:
    data = ANTHROPIC.replace(b"\n", b"\r\n") if crlf else ANTHROPIC

    frames, stream = passed(parts_of(data, cuts))

    first = anthropic_start(input_tokens=7, cache_read_input_tokens=2, output_tokens=1)
    ours = first.replace(b"msg_upstream", b"msg_ours").replace(b"up-1", b"public")
    kept_back = ANTHROPIC.index(b"event: message_delta")
    expected = ANTHROPIC[len(first) : kept_back].replace(b": keep-alive\n\n", b"")
    assert frames == ours + expected
    assert stream.is_done
    assert stream.usage == Usage(input=7, cached_input=2, output=14, reasoning=6, request=1)
    assert stream.finish(RECEIPT).endswith(b'{"type":"message_stop"}\n\n')


@given(cuts=CUTS, place=st.integers(0, 6000), junk=st.binary(min_size=1, max_size=4))
@settings(max_examples=200)
def test_no_frame_that_is_no_json_passes(cuts: list[int], place: int, junk: bytes) -> None:
    place %= len(ANTHROPIC)
    mutated = ANTHROPIC[:place] + junk + ANTHROPIC[place + len(junk) :]

    frames, _ = passed(parts_of(mutated, cuts))

    for frame in frames.split(b"\n\n"):
        for line in frame.split(b"\n"):
            if line.startswith(b"data:"):
                orjson.loads(line.removeprefix(b"data:"))


def test_a_cut_stream_closes_the_block_that_is_open() -> None:
    stream = PassThroughStream(ANSWER)
    frames = stream.feed(ANTHROPIC[: ANTHROPIC.index(b"event: message_delta")])

    cut = stream.cut(frames, 10)

    assert cut.cut_tokens >= 10
    last = stream.cut_off(RECEIPT)
    assert last.startswith(b"event: content_block_stop\n")
    assert b'"stop_reason":"max_tokens"' in last
    assert b'"x_tollgate":{"code":"budget_exhausted"}' in last
    everything = stream.cut(frames, 10**6)
    assert everything.frames == b""
    assert stream.cut_off(RECEIPT).startswith(b"event: message_start\n")

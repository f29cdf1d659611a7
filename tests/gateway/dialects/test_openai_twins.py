"""Chunks that differ in their text alone take a short way, and come out as by the long one."""

import json
import random

import pytest

from gateway.chat import ChatRequest
from gateway.dialects.openai.passthrough import PassThroughStream
from gateway.dialects.openai.twins import MOST_LESSONS, Twins
from kernel.errors import UpstreamError
from tests.gateway.dialects.relaying import ANSWER

HEAD = b'{"id":"x1","object":"chat.completion.chunk","created":7,"model":"gpt","choices":'
SPACED = (
    b'{"id": "x1", "object": "chat.completion.chunk", "created": 7, "model": "gpt", "choices": '
)


def chunk(text: bytes, *, head: bytes = HEAD, tail: bytes = b"}") -> bytes:
    said = b'[{"index":0,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]' % text
    if head is SPACED:
        said = said.replace(b":", b": ").replace(b",", b", ")
    return b"data: %b%b%b\n\n" % (head, said, tail)


def stream(*, include_usage: bool = False) -> PassThroughStream:
    request = ChatRequest("public", (), {}, stream=True, include_usage=include_usage)
    return PassThroughStream(request, ANSWER)


def by_the_long_way(frames: list[bytes], *, include_usage: bool) -> tuple[bytes, int]:
    """Relay frames by a stream that learns nothing."""
    read = stream(include_usage=include_usage)
    read._twins._lessons = MOST_LESSONS
    return b"".join(map(read.feed, frames)), read.count_relayed()


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("tail", [b"}", b',"usage":null}', b',"system_fingerprint":"fp"}'])
@pytest.mark.parametrize("head", [HEAD, SPACED])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_stream_of_words_is_the_same_by_either_way(
    head: bytes, tail: bytes, *, include_usage: bool, pieces: int
) -> None:
    words = [b"one", b"", b" two", "café".encode(), b'\\"quoted\\"', b"\\u00e9", b"three", b"\\n"]
    frames = [chunk(word, head=head, tail=tail) for word in words * 3]
    read = stream(include_usage=include_usage)

    got = b"".join(
        read.feed(b"".join(frames[start : start + pieces]))
        for start in range(0, len(frames), pieces)
    )

    assert (got, read.count_relayed()) == by_the_long_way(frames, include_usage=include_usage)
    assert read._twins._begin


@pytest.mark.parametrize(
    "other",
    [
        chunk(b"caf\xc3"),
        chunk(b"a\xed\xa0\x80"),
        chunk(b"tab\there"),
        chunk(b"no end")[:-3] + b"\n\n",
        chunk(b"").replace(b'""', b'"'),
        chunk(b"x").replace(b'"index":0', b'"index":1'),
    ],
)
def test_what_no_chunk_could_be_is_a_fault_all_the_same(other: bytes) -> None:
    read = stream()
    for _ in range(3):
        read.feed(chunk(b"word"))

    assert read.feed(other) == b""
    assert isinstance(read.fault, UpstreamError)


def test_text_beside_the_answer_is_never_counted_in_its_place() -> None:
    said = (
        b'[{"index":0,"delta":{"c\\u006fntent":"word"},"x":{"content":"%b"},"finish_reason":null}]'
    )
    read = stream()
    for text in (b"word", b"", b""):
        read.feed(b"data: %b%b}\n\n" % (HEAD, said % text))

    assert read.count_relayed() == 3
    assert not read._twins._begin


def test_a_frame_shorter_than_its_two_ends_is_no_twin() -> None:
    twins = Twins()
    frame = chunk(b"word")
    twins.learn(frame[6:-2], frame, "word")
    begin, end = twins._begin, twins._end

    assert twins.render(begin + end) == (chunk(b""), "")
    assert twins.render(begin + end[1:]) is None


def test_what_differs_every_time_is_not_learnt_for_ever() -> None:
    read = stream()
    for number in range(3 * MOST_LESSONS):
        read.feed(chunk(b"word", tail=b',"obfuscation":"%d"}' % number))

    assert read._twins._lessons == MOST_LESSONS
    assert read.count_relayed() == 3 * MOST_LESSONS


def test_any_cut_of_a_stream_says_the_same() -> None:
    lot = random.Random(7)
    frames = [chunk(word) for word in (b"one", b" two", b"\\t", b" three") * 20]
    whole = b"".join(frames)
    expected = by_the_long_way(frames, include_usage=False)
    for _ in range(50):
        cuts = sorted(lot.sample(range(1, len(whole)), 30))
        read = stream()
        got = b"".join(
            read.feed(whole[begin:end])
            for begin, end in zip([0, *cuts], [*cuts, None], strict=True)
        )
        assert (got, read.count_relayed()) == expected


def test_a_twin_goes_out_under_our_name() -> None:
    read = stream()
    read.feed(chunk(b"one"))

    sent = json.loads(read.feed(chunk(b" two")).removeprefix(b"data: "))

    assert (sent["id"], sent["model"]) == (ANSWER.completion_id, ANSWER.model)
    assert sent["choices"][0]["delta"] == {"content": " two"}


def test_a_chunk_under_the_name_of_an_error_is_one_however_it_reads() -> None:
    read = stream()
    read.feed(chunk(b"one"))

    assert read.feed(b"event: error\n" + chunk(b" two")) == b""
    assert isinstance(read.fault, UpstreamError)

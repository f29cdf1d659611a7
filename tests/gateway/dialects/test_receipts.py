"""Cost and evidence beside a dialect's figures: exact digits, and no other byte touched."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.usage import NO_USAGE, Evidence, Usage
from gateway.chat import Answer, ChatRequest
from gateway.dialects.anthropic.passthrough import PassThroughStream as AnthropicPassThrough
from gateway.dialects.openai.passthrough import PassThroughStream
from gateway.dialects.openai.whole import patch_answer
from gateway.dialects.receipts import Receipt, render_number
from kernel.money import NANOS_PER_DOLLAR, Nanos
from tests.calls import frames
from tests.fakes.upstream import ending, frame

ANSWER = Answer("chatcmpl-ours", "public", 1, "fp")
USAGE = Usage(input=9, output=4, request=1)
REPORTED = Receipt(USAGE, Nanos(123_000), Evidence.PROVIDER)
COUNTED = Receipt(USAGE, Nanos(123_000), Evidence.COUNTED)
COST: Any = {"cost": 0.000123, "x_tollgate": {"evidence": "provider"}}
DETAILS: Any = {
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
# what the provider leaves out is said as it is charged
MISSING: Any = {"total_tokens": 13, **DETAILS}


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        *[(0, "0"), (1, "0.000000001"), (123_000, "0.000123"), (100_000_000, "0.1")],
        *[(1_000_000_000, "1"), (10_000_000_000, "10"), (12_345_678_901, "12.345678901")],
    ],
)
def test_a_cost_is_written_with_every_digit_and_no_exponent(nanos: int, text: str) -> None:
    assert render_number(Nanos(nanos)) == text


@given(st.integers(0, 10**15))
def test_the_number_is_the_decimal_and_survives_a_clients_float(nanos: int) -> None:
    text = render_number(Nanos(nanos))

    assert Decimal(text) * NANOS_PER_DOLLAR == nanos
    assert Decimal(repr(json.loads(text))) == Decimal(text)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_providers_figures_stand_beside_ours_and_never_in_their_place() -> None:
    reported = {"cost": 77, "prompt_tokens": 9, "x": {"y": float("nan")}}

    assert REPORTED.write(reported, lambda _: {"prompt_tokens": 1}) == (
        b'{"prompt_tokens":9,"x":{"y":null},"cost":0.000123,"x_tollgate":{"evidence":"provider"}}'
    )


def test_figures_that_a_provider_leaves_out_are_ours() -> None:
    reported = {"a": None, "b": {"x": 1}, "c": 0, "d": None}

    written = REPORTED.write(reported, lambda _: {"a": 5, "b": {"x": 6, "y": 7}, "c": 8, "e": 9})

    assert json.loads(written) == {
        "a": 5,
        "b": {"x": 1, "y": 7},
        "c": 0,
        "d": None,
        "e": 9,
        **COST,
    }


@pytest.mark.parametrize(
    "reported",
    [None, {}, [1], {"cost": 77}, {"x": "\ud800", "y": float("inf")}, {"x": nested(2_000)}],
    ids=["none", "empty", "list", "cost alone", "neither of two parsers", "too deep"],
)
def test_without_a_providers_figures_our_own_are_shown(reported: Any) -> None:
    shown = b'{"own":1,"cost":0.000123,"x_tollgate":{"evidence":"%b"}}'

    assert REPORTED.write(reported, lambda _: {"own": 1}) == shown % b"provider"
    assert COUNTED.write({"theirs": 1}, lambda _: {"own": 1}) == shown % b"counted"


def through(data: bytes, receipt: Receipt, *, include_usage: bool = True) -> tuple[bytes, bytes]:
    """Pass an upstream's stream through; return what went out at once, and at the end."""
    request = ChatRequest("public", (), {}, include_usage=include_usage)
    stream = PassThroughStream(request, ANSWER)
    first = stream.feed(data[:200]) + stream.feed(data[200:])
    assert stream.is_done
    return first, stream.finish(receipt)


def test_the_last_usage_of_a_stream_is_kept_back_and_says_the_cost() -> None:
    said = frame("up-1", {"role": "assistant", "content": " word"})

    first, last = through(said + ending("up-1", 4, usage=True), REPORTED)

    renamed = said + frame("up-1", {}, "stop")
    for theirs, ours in ((b"chatcmpl-upstream", b"chatcmpl-ours"), (b"up-1", b"public")):
        renamed = renamed.replace(theirs, ours)
    assert first == renamed
    assert last == (
        b'data: {"id":"chatcmpl-ours","object":"chat.completion.chunk","created":1,'
        b'"model":"public","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,'
        b'"total_tokens":13,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0},'
        b'"cost":0.000123,"x_tollgate":{"evidence":"provider"}}}\n\ndata: [DONE]\n\n'
    )


@pytest.mark.parametrize("include_usage", [True, False])
def test_usage_in_the_chunk_that_ends_a_choice_goes_out_alone_and_where_it_was_asked_for(
    *, include_usage: bool
) -> None:
    end = json.loads(frame("up-1", {"content": " word"}, "stop").removeprefix(b"data: "))
    end["usage"] = {"prompt_tokens": 9, "completion_tokens": 4, "cost": 77, "extra": 1}
    end |= {"system_fingerprint": "fp_9", "timings": {"predicted_ms": 7}}
    data = frame("up-1", {"content": "a"}) + b"data: " + orjson.dumps(end) + b"\n\ndata: [DONE]\n\n"

    first, last = through(data, REPORTED, include_usage=include_usage)

    _, chunk = frames(first.decode())
    assert chunk["choices"] == end["choices"]
    assert chunk["timings"] == {"predicted_ms": 7}
    assert chunk.get("usage", "absent") == (None if include_usage else "absent")
    *usages, done = frames(last.decode())
    assert done == "[DONE]"
    shown = {
        "system_fingerprint": "fp_9",
        "choices": [],
        "id": "chatcmpl-ours",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "public",
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "extra": 1,
            **MISSING,
            **COST,
        },
    }
    assert usages == [shown] * include_usage


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("delta", [{}, {"role": "assistant", "content": None}])
def test_an_empty_choice_beside_usage_is_left_out(delta: Any, *, include_usage: bool) -> None:
    said = frame("up-1", {"content": "a"}) + frame("up-1", {}, "stop")
    empty = frame("up-1", delta).replace(b'"usage":null', b'"usage":{"prompt_tokens":9}')

    first, last = through(said + empty + b"data: [DONE]\n\n", REPORTED, include_usage=include_usage)

    assert [c["choices"][0]["finish_reason"] for c in frames(first.decode())] == [None, "stop"]
    *usages, _ = frames(last.decode())
    assert [(c["choices"], c["usage"]["prompt_tokens"]) for c in usages] == (
        [([], 9)] * include_usage
    )


@pytest.mark.parametrize("include_usage", [True, False])
def test_of_usage_in_every_chunk_the_last_one_goes_out(*, include_usage: bool) -> None:
    running = [
        frame("up-1", {"content": word}, "stop" if word == "c" else None).replace(
            b'"usage":null', b'"usage":{"prompt_tokens":9,"completion_tokens":%d}' % spoken
        )
        for spoken, word in enumerate("abc", 1)
    ]

    first, last = through(
        b"".join(running) + b"data: [DONE]\n\n", REPORTED, include_usage=include_usage
    )

    chunks = frames(first.decode())
    assert [c["choices"][0]["delta"]["content"] for c in chunks] == ["a", "b", "c"]
    assert [c["usage"] for c in chunks if "usage" in c] == [None] * (3 * include_usage)
    *usages, _ = frames(last.decode())
    assert [c["usage"] for c in usages] == [
        {"prompt_tokens": 9, "completion_tokens": 3, **MISSING, **COST}
    ] * include_usage


UNSEEN: Any = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35}
THOUGHT = Receipt(Usage(input=10, output=5, reasoning=20), Nanos(123_000), Evidence.PROVIDER)


def test_thoughts_in_the_total_alone_are_part_of_the_completion_of_a_stream() -> None:
    data = frame("up-1", {"content": "a"}) + ending("up-1", 4, usage=False)
    end = b'"choices":[],"usage":%b}' % orjson.dumps(UNSEEN)
    last = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"up-1",' + end
    done = b"data: [DONE]\n\n"

    shown, _ = frames(through(data.removesuffix(done) + last + b"\n\n" + done, THOUGHT)[1].decode())

    assert_thought(shown["usage"])


def test_thoughts_in_the_total_alone_are_part_of_the_completion_of_a_whole_answer() -> None:
    choices = [{"message": {"content": "a"}, "finish_reason": "stop"}]
    body = orjson.dumps({"id": "x", "model": "up-1", "choices": choices, "usage": UNSEEN})

    patched = patch_answer(body, ANSWER)

    assert patched.usage == Usage(input=10, output=5, reasoning=20, request=1)
    assert_thought(json.loads(patched.render(THOUGHT))["usage"])


def assert_thought(shown: Any) -> None:
    assert shown["completion_tokens"] == 25
    assert shown["completion_tokens_details"]["reasoning_tokens"] == 20
    assert shown["total_tokens"] == 35


def test_a_stream_without_usage_gets_our_own_where_it_was_asked_for() -> None:
    data = frame("up-1", {"content": "a"}) + ending("up-1", 4, usage=False)

    (chunk, done) = frames(through(data, COUNTED)[1].decode())

    assert done == "[DONE]"
    assert chunk["choices"] == []
    assert (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]) == (9, 4)
    assert chunk["usage"]["x_tollgate"] == {"evidence": "counted"}
    assert through(data, COUNTED, include_usage=False)[1] == b"data: [DONE]\n\n"


def test_words_beside_usage_are_counted_as_they_go_out() -> None:
    end = frame("up-1", {"content": " word word"}, "stop").replace(
        b'"usage":null', b'"usage":{"prompt_tokens":-1,"completion_tokens":2}'
    )
    stream = PassThroughStream(ChatRequest("public", (), {}), ANSWER)

    sent = stream.feed(frame("up-1", {"content": " word"}) + end + b"data: [DONE]\n\n")

    assert (stream.usage, stream.count_relayed(), stream.count_relayed()) == (NO_USAGE, 3, 0)
    assert b" word word" in sent
    assert stream.finish(COUNTED) == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("reported", "receipt", "shown"),
    [
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "x": 1},
            REPORTED,
            {"prompt_tokens": 9, "completion_tokens": 4, "x": 1, **MISSING, **COST},
        ),
        (
            {"prompt_tokens": -9, "completion_tokens": 4},
            COUNTED,
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                **MISSING,
                "cost": 0.000123,
                "x_tollgate": {"evidence": "counted"},
            },
        ),
    ],
)
def test_a_whole_answer_shows_the_figures_that_are_charged(
    reported: Any, receipt: Receipt, shown: Any
) -> None:
    said = {"role": "assistant", "content": " word" * 4, "refusal": None}
    choices = [{"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}]
    theirs = {"object": "chat.completion", "created": 7, "system_fingerprint": "fp_9"}
    named = {"id": "x", "model": "up-1", "choices": choices, "usage": reported}

    answer = orjson.loads(patch_answer(orjson.dumps({**theirs, **named}), ANSWER).render(receipt))

    ours = {"id": "chatcmpl-ours", "model": "public", "choices": choices, "usage": shown}
    assert answer == {**theirs, **ours}


def test_anthropics_last_figures_say_the_cost_and_the_event_stays_as_it_came() -> None:
    start = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_x",'
        b'"model":"up","usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
    )
    head = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":'
    end = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    stream = AnthropicPassThrough(Answer("msg_ours", "public", 1, "fp"))

    stream.feed(start + head + b'"end_turn"}, "usage": {"output_tokens": 4}, "x":1}\n\n' + end)

    assert stream.finish(REPORTED) == (
        head + b'"end_turn"},"x":1,"usage":{"output_tokens":4,"input_tokens":9,'
        b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cost":0.000123,'
        b'"x_tollgate":{"evidence":"provider"}}}\n\n' + end
    )

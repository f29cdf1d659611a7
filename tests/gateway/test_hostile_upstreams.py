"""What an upstream says is believed only where it can be true; its faults stay its own."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.keys import revoke_key
from billing.models import Hold, PriceVersion, UsageEvent
from billing.prices import PriceSpec, text_price
from gateway.chat import Answer, ChatRequest
from gateway.dialects.openai.passthrough import PassThroughStream
from gateway.dialects.openai.usage import parse_usage
from gateway.offers import price_model
from kernel.errors import UnavailableError, UpstreamError
from tests.books import assert_proven
from tests.calls import WORD, RawStream, chat_body, frames, post, text_of, wait_for
from tests.fakes.upstream import ending, frame
from tests.gateway.dialects.relaying import (
    Got,
    chunks_of,
    events_of,
    through_anthropic,
    through_openai,
)
from tests.gateway.translation.transcripts import ANTHROPIC, DONE, OPENAI
from tests.stage import Stage


def usage_of(stage: Stage) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


@pytest.mark.parametrize(
    "reported",
    [
        {},
        {"prompt_tokens": -5, "completion_tokens": 3},
        {"prompt_tokens": 5, "completion_tokens": -3},
        {"prompt_tokens": "5", "completion_tokens": 3},
        {"prompt_tokens": 5.5, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 10**15, "completion_tokens": 3},
        {"prompt_tokens": 18446744073709551616, "completion_tokens": 3},
        {"prompt_tokens": 5, "completion_tokens": 10**9},
        {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 6},
        },
        {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_figures_that_cannot_be_true_are_not_believed_and_ours_count(
    stage: Stage, reported: Any, *, streamed: bool
) -> None:
    body = chat_body(stream=streamed, mock={"chunks": 4, "usage": reported})

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert answer.status_code == 200
    usage = usage_of(stage)
    assert (usage.evidence, usage.output, usage.cached_input) == ("counted", 4, 0)
    assert usage.input > 0
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_figure_far_below_what_was_relayed_is_not_believed(
    stage: Stage, *, streamed: bool
) -> None:
    reported = {"prompt_tokens": 5, "completion_tokens": 1}
    body = chat_body(stream=streamed, mock={"chunks": 200, "usage": reported})

    post(stage.api.url, stage.acme.key_text, body)

    usage = usage_of(stage)
    assert (usage.evidence, usage.output, usage.counted_output) == ("counted", 200, 200)


@pytest.mark.parametrize("streamed", [True, False])
def test_our_own_count_stands_beside_the_providers(stage: Stage, *, streamed: bool) -> None:
    reported = {"prompt_tokens": 9, "completion_tokens": 70}
    body = chat_body(stream=streamed, mock={"chunks": 77, "usage": reported})

    post(stage.api.url, stage.acme.key_text, body)

    usage = usage_of(stage)
    assert (usage.evidence, usage.input, usage.output) == ("provider", 9, 70)
    assert (usage.counted_input, usage.counted_output) == (8, 77)


def test_cached_and_reasoning_tokens_are_counted_in_one_bucket_each(stage: Stage) -> None:
    reported = {
        "prompt_tokens": 30,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }

    post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 4, "usage": reported}))

    usage = usage_of(stage)
    assert (usage.input, usage.cached_input, usage.output, usage.reasoning) == (20, 10, 15, 5)
    assert usage.amount_nanos == 30 * 1_000 + 20 * 2_000


def test_a_price_changed_in_mid_stream_does_not_touch_the_running_call(stage: Stage) -> None:
    stream = RawStream(
        stage.api.port,
        stage.acme.key_text,
        chat_body(stream=True, mock={"chunks": 30, "delay_ms": 20}),
    )
    stream.read_words(3)
    before = PriceVersion.objects.filter(model="mock").latest("id")

    price_model(PriceSpec("mock", text_price(9_000_000_000, 9_000_000_000)), actor="test")
    stream.read_until(lambda data: b"[DONE]" in data)

    running = usage_of(stage)
    assert running.price_version_id == before.pk
    assert running.amount_nanos == 9 * 1_000 + 30 * 2_000
    price_model(PriceSpec("mock", text_price(1_000_000_000, 2_000_000_000)), actor="test")
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_key_revoked_in_mid_stream_ends_no_stream_and_starts_no_new_one(stage: Stage) -> None:
    stream = RawStream(
        stage.api.port,
        stage.acme.key_text,
        chat_body(stream=True, mock={"chunks": 30, "delay_ms": 20}),
    )
    stream.read_words(3)

    revoke_key(stage.acme.key, actor="test")
    refused = wait_for(
        lambda: [
            answer
            for answer in [post(stage.api.url, stage.acme.key_text, chat_body())]
            if answer.status_code == 401
        ],
        seconds=1,
    )
    ended = stream.read_until(lambda data: b"[DONE]" in data)

    assert refused
    assert ended.count(WORD) == 30
    assert usage_of(stage).outcome == "completed"
    assert not Hold.objects.filter(org_id=stage.acme.org.pk, state="held").exists()


TRANSCRIPT = b"".join(
    [
        frame("up-1", {"role": "assistant", "content": ""}),
        *(frame("up-1", {"content": word}) for word in ("Grüße, ", '"quoted" ', "\\n", "😀")),
        ending("up-1", 4, usage=True),
    ]
)
ANSWER = Answer("chatcmpl-ours", "public", 1, "fp")


def relayed(parts: list[bytes], *, include_usage: bool = False) -> bytes:
    request = ChatRequest("public", (), {}, include_usage=include_usage)
    stream = PassThroughStream(request, ANSWER)
    return b"".join(stream.feed(part) for part in parts)


@given(st.lists(st.integers(0, len(TRANSCRIPT)), max_size=8), st.booleans())
def test_a_stream_split_at_any_bytes_is_relayed_the_same(cuts: list[int], crlf: bool) -> None:  # noqa: FBT001 # drawn
    data = TRANSCRIPT.replace(b"\n", b"\r\n") if crlf else TRANSCRIPT
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]

    assert relayed(parts) == relayed([TRANSCRIPT])
    assert text_of(frames(relayed(parts).decode())) == 'Grüße, "quoted" \\n😀'


def mutate(data: bytes, place: int, junk: bytes, *, is_put_between: bool) -> bytes:
    place %= len(data)
    return data[:place] + junk + data[place + (0 if is_put_between else len(junk)) :]


JUNK = st.binary(min_size=1, max_size=4) | st.sampled_from(
    [b"\n", b"\n\n", b"\r", b'"', b"}", b'\\"', b"NaN", b"id: 1\n", b'{"error":1}', DONE]
)
MUTATIONS = st.lists(st.tuples(st.integers(0, 10**4), JUNK, st.booleans()), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("transcript", "through", "check"),
    [(OPENAI, through_openai, chunks_of), (ANTHROPIC, through_anthropic, events_of)],
    ids=["openai", "anthropic"],
)
@given(mutations=MUTATIONS, cut=st.integers(0, 10**4))
@settings(max_examples=500)
def test_of_a_mutated_stream_a_caller_gets_whole_frames_of_ours_and_at_most_an_error(
    transcript: bytes,
    through: Callable[[Sequence[bytes]], Got],
    check: Callable[[Got], object],
    mutations: list[tuple[int, bytes, bool]],
    cut: int,
) -> None:
    data = transcript
    for place, junk, is_put_between in mutations:
        data = mutate(data, place, junk, is_put_between=is_put_between)
    cut %= len(data)

    got = through([data[:cut], data[cut:]])

    said = check(got)
    at_once = through([data])
    assert said == check(at_once)
    assert (got.tokens, bool(got.fault)) == (at_once.tokens, bool(at_once.fault))
    assert got.fault is None or isinstance(got.fault, UpstreamError | UnavailableError)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats()))
def test_no_report_of_usage_makes_a_negative_bucket(reported: dict[str, Any]) -> None:
    usage = parse_usage({**reported, "completion_tokens": reported.get("completion_tokens", 1)})

    assert usage is None or min(usage.input, usage.output, usage.reasoning) >= 0

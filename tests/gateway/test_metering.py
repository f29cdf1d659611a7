"""Whose figures a call is charged by: the provider's within reason, else our own count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.holds import Outcome
from billing.pricing import Price, Tier
from billing.usage import NO_USAGE, Evidence, Usage
from gateway.dialects.openai.usage import parse_usage, render_usage
from gateway.metering import TOOLS_SLACK_TOKENS, Meter

PRICE = Price(1, Usage(input=1_000_000, output=2_000_000, reasoning=2_000_000))


def meter(relayed: int, **fields: Any) -> Meter:
    made = Meter("req_1", fields.pop("price", PRICE), 8, 40, 1_000, **fields)
    made.add(relayed)
    return made


@pytest.mark.parametrize(
    ("relayed", "completion", "reasoning", "is_believed"),
    [
        (10, 10, 0, True),
        (10, 56, 0, True),  # four times, and 16
        (10, 57, 0, False),
        (10, 100, 0, False),
        (0, 16, 0, True),
        (0, 17, 0, False),
        (10, 1_000, 990, True),  # a provider's word for what it thought is taken
        (10, 1_000, 900, False),
        (200, 34, 0, True),
        (200, 33, 0, False),
        (10, 4_001, 4_000, False),  # and not beyond what the call may write
    ],
)
def test_figures_are_believed_within_reason_of_what_was_relayed(
    relayed: int, completion: int, reasoning: int, *, is_believed: bool
) -> None:
    counting = meter(relayed)
    reported = Usage(input=9, output=completion - reasoning, reasoning=reasoning, request=1)

    assert counting.report(reported) is is_believed

    closing = counting.closing(Outcome.COMPLETED)
    counted = Usage(input=8, output=relayed, request=1)
    assert closing.usage == (reported if is_believed else counted)
    assert closing.evidence is (Evidence.PROVIDER if is_believed else Evidence.COUNTED)
    assert closing.charge_nanos == PRICE.charge(closing.usage)


def test_of_a_call_that_may_think_all_within_its_bounds_is_believed() -> None:
    reported = Usage(input=9, output=1_000, request=1)

    assert meter(10, may_think=True).report(reported)
    assert not meter(10).report(reported)


def test_calls_of_tools_have_room_for_what_they_are_wrapped_in() -> None:
    reported = Usage(input=9, output=4 * 10 + 512, request=1)

    assert meter(10, slack_tokens=TOOLS_SLACK_TOKENS).report(reported)
    assert not meter(11, slack_tokens=0).report(reported)


def test_the_last_figures_count_also_where_they_are_not_believed() -> None:
    counting = meter(10)
    counting.report(Usage(input=9, output=10, request=1))

    assert not counting.report(NO_USAGE)

    assert counting.usage == Usage(input=8, output=10, request=1)
    assert counting.evidence is Evidence.COUNTED


def test_figures_that_are_not_believed_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    meter(10, provider="acme").report(Usage(input=9, output=100, request=1))

    (record,) = caplog.records
    assert isinstance(record.msg, dict)
    said = {name: record.msg[name] for name in ("event", "request", "provider", "counted_output")}
    assert said == {
        "event": "usage_not_believed",
        "request": "req_1",
        "provider": "acme",
        "counted_output": 10,
    }
    assert record.msg["completion_tokens"] == 100


def test_sound_costs_as_text_where_it_has_no_price_of_its_own() -> None:
    heard = Usage(input=3, audio_input=6, output=4, audio_output=2, request=1)
    priced = Price(1, Usage(input=1, output=1, audio_input=5, audio_output=5))
    tiered = Price(1, Usage(input=1, output=1), {"audio_input": [Tier(0, 5)]})

    usages = []
    for price in (PRICE, priced, tiered):
        counting = meter(6, price=price)
        assert counting.report(heard)
        usages.append(counting.usage)

    assert usages == [
        Usage(input=9, output=6, request=1),
        heard,
        Usage(input=3, audio_input=6, output=6, request=1),
    ]


@pytest.mark.parametrize(
    ("prompt", "completion", "usage"),
    [
        (
            {"cached_tokens": 2, "cache_write_tokens": 3, "audio_tokens": 4},
            {"reasoning_tokens": 5, "audio_tokens": 6},
            Usage(
                input=11,
                cached_input=2,
                cache_write=3,
                audio_input=4,
                output=9,
                reasoning=5,
                audio_output=6,
                request=1,
            ),
        ),
        (None, None, Usage(input=20, output=20, request=1)),
        ({"cached_tokens": None}, [], Usage(input=20, output=20, request=1)),
        # sound that was cached counts as cached
        (
            {"cached_tokens": 18, "audio_tokens": 5},
            {},
            Usage(cached_input=18, audio_input=2, output=20, request=1),
        ),
        ({"cached_tokens": 18, "cache_write_tokens": 3}, {}, NO_USAGE),
        ({"cached_tokens": -1}, {}, NO_USAGE),
        ({"cached_tokens": float("nan")}, {}, NO_USAGE),
        ({"cache_write_tokens": "3"}, {}, NO_USAGE),
        ({"audio_tokens": 21}, {}, NO_USAGE),
        ({}, {"reasoning_tokens": 15, "audio_tokens": 6}, NO_USAGE),
        ({}, {"reasoning_tokens": True}, NO_USAGE),
        ({}, {"audio_tokens": 1.0}, NO_USAGE),
    ],
)
def test_every_token_of_openais_figures_is_in_one_bucket(
    prompt: object, completion: object, usage: Usage
) -> None:
    reported = {
        "prompt_tokens": 20,
        "completion_tokens": 20,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": completion,
    }

    assert parse_usage(reported) == usage
    if usage is not NO_USAGE:
        assert (usage.prompt_tokens, usage.completion_tokens) == (20, 20)


COUNT = st.integers(0, 10**9)


@given(
    st.builds(
        Usage,
        input=COUNT,
        cached_input=COUNT,
        cache_write=COUNT,
        output=COUNT,
        reasoning=COUNT,
        image=st.just(0),
        audio_input=COUNT,
        audio_output=COUNT,
        embedding=st.just(0),
        request=st.just(1),
    )
)
def test_one_tollgate_reads_of_another_what_that_has_charged(usage: Usage) -> None:
    assert parse_usage(render_usage(usage)) == usage


def test_figures_that_shrink_are_not_believed_nor_is_what_follows_them() -> None:
    counting = meter(60)
    reports = [Usage(input=9, output=output, request=1) for output in (50, 55, 20, 60)]

    assert [counting.report(reported) for reported in reports] == [True, True, False, False]

    assert counting.usage == Usage(input=8, output=60, request=1)
    assert (counting.is_doubted, counting.evidence) == (True, Evidence.COUNTED)

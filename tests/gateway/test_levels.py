"""Which limits a call meets on which level, and what its caller is told of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.principal import Principal, RateLimits
from gateway.dialects.rate_headers import (
    RateStanding,
    anthropic_ratelimit_headers,
    render_duration,
    x_ratelimit_headers,
)
from gateway.levels import DAY_MS, MINUTE_MS, Check, Defaults, Slots, Verdict, Wanted, ask_for
from kernel.errors import RateLimitError

DEFAULTS = Defaults(rpm=100, tpm=1000, most_call_s=600)


def principal(**levels: RateLimits) -> Principal:
    fields: dict[str, Any] = {
        **dict.fromkeys(("key_limits", "project_limits", "org_limits"), RateLimits()),
        **levels,
    }
    return Principal(
        key_id=1,
        key_public_id="k",
        kind="proj",
        org_id=2,
        org_public_id="o",
        org_active=True,
        project_id=3,
        allowed_models=None,
        expires_at=None,
        revoked=False,
        **fields,
    )


def wanted(tokens: int, **limits: int) -> Wanted:
    return Wanted("gpt-4o", RateLimits(**limits), tokens)


def test_a_key_without_limits_of_its_own_has_the_platforms() -> None:
    plain = ask_for("req_1", principal(), wanted(7), DEFAULTS)
    own = ask_for("req_1", principal(key_limits=RateLimits(5, 50, 500, 2)), wanted(7), DEFAULTS)

    assert [check.as_row() for check in plain.checks] == [
        ["rl:k:k:rpm", 100, 1, MINUTE_MS],
        ["rl:k:k:tpm", 1000, 7, MINUTE_MS],
    ]
    assert (plain.slots, plain.longest_ms) == ([], 600_000)
    assert [check.as_row() for check in own.checks] == [
        ["rl:k:k:rpm", 5, 1, MINUTE_MS],
        ["rl:k:k:rpd", 50, 1, DAY_MS],
        ["rl:k:k:tpm", 500, 7, MINUTE_MS],
    ]
    assert own.slots == [Slots("this key", "rl:k:k:slots", 2)]


def test_every_level_that_has_a_limit_is_asked_in_words_of_its_own() -> None:
    who = principal(
        project_limits=RateLimits(rpm=60, concurrency=4), org_limits=RateLimits(rpd=9, tpm=900)
    )

    asked = ask_for("req_1", who, wanted(7, rpm=6, concurrency=1), DEFAULTS)

    assert [(str(check), check.key) for check in asked.checks] == [
        ("requests per minute of this key: 100", "rl:k:k:rpm"),
        ("tokens per minute of this key: 1000", "rl:k:k:tpm"),
        ("requests per minute of this project: 60", "rl:p:3:rpm"),
        ("requests per day of this organization: 9", "rl:o:2:rpd"),
        ("tokens per minute of this organization: 900", "rl:o:2:tpm"),
        ("requests per minute of this organization on this model: 6", "rl:m:2:gpt-4o:rpm"),
    ]
    assert [str(slots) for slots in asked.slots] == [
        "concurrent requests of this project: 4",
        "concurrent requests of this organization on this model: 1",
    ]


def test_a_call_that_will_not_run_costs_a_request_and_neither_tokens_nor_a_slot() -> None:
    who = principal(project_limits=RateLimits(tpm=60, concurrency=4))

    asked = ask_for("req_1", who, None, DEFAULTS)

    assert [(check.key, check.cost) for check in asked.checks] == [
        ("rl:k:k:rpm", 1),
        ("rl:k:k:tpm", 0),
        ("rl:p:3:tpm", 0),
    ]
    assert asked.slots == []


def test_at_its_end_a_call_corrects_its_tokens_on_every_level() -> None:
    who = principal(org_limits=RateLimits(tpm=900, rpm=5))
    asked = ask_for("req_1", who, wanted(70), DEFAULTS)

    def corrected(used: int) -> list[tuple[str, int]]:
        return [(check.key, check.cost) for check in asked.corrections(used)]

    assert corrected(50) == [("rl:k:k:tpm", 20), ("rl:o:2:tpm", 20)]
    assert corrected(75) == [("rl:k:k:tpm", -5), ("rl:o:2:tpm", -5)]
    assert corrected(70) == []
    assert ask_for("req_1", who, None, DEFAULTS).corrections(0) == []


def test_a_call_larger_than_its_limit_is_told_not_to_come_back() -> None:
    small = Check("tokens per minute", "this project", "x", 5, 9, MINUTE_MS)

    with pytest.raises(RateLimitError) as refused:
        Verdict(small, 1, [small], [(5, 0)]).raise_if_refused()

    assert refused.value.headers == {"x-should-retry": "false"}
    assert refused.value.message == (
        "This request is larger than a limit: tokens per minute of this project: 5, requested 9. "
        "Send a shorter prompt or a smaller max_tokens."
    )


def verdict_of_four(refused: int | None = None) -> Verdict:
    who = principal(org_limits=RateLimits(rpm=10, tpm=400))
    checks = ask_for("req_1", who, wanted(7), DEFAULTS).checks
    states = [(30, 600), (500, 9_000), (4, 61_000), (100, 12_345)]
    return Verdict(None if refused is None else checks[refused], 1, checks, states)


def test_of_all_levels_the_limit_with_the_least_share_left_is_shown() -> None:
    standings = verdict_of_four().standings()

    assert standings == {
        "requests": RateStanding(100, 30, 600),
        "tokens": RateStanding(400, 100, 12_345),
    }


def test_the_limit_that_refused_is_shown_whatever_its_share() -> None:
    standings = verdict_of_four(refused=1).standings()

    assert standings["tokens"] == RateStanding(1000, 500, 9_000)


def test_openais_headers_say_durations() -> None:
    assert x_ratelimit_headers(verdict_of_four().standings()) == [
        (b"x-ratelimit-limit-requests", b"100"),
        (b"x-ratelimit-remaining-requests", b"30"),
        (b"x-ratelimit-reset-requests", b"600ms"),
        (b"x-ratelimit-limit-tokens", b"400"),
        (b"x-ratelimit-remaining-tokens", b"100"),
        (b"x-ratelimit-reset-tokens", b"13s"),
    ]


def test_anthropics_headers_say_times_and_each_kind_of_token_the_one_limit() -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)

    headers = dict(anthropic_ratelimit_headers(verdict_of_four().standings(), now))

    tokens = {b"limit": b"400", b"remaining": b"100", b"reset": b"2026-11-21T12:00:13Z"}
    assert headers == {
        b"anthropic-ratelimit-requests-limit": b"100",
        b"anthropic-ratelimit-requests-remaining": b"30",
        b"anthropic-ratelimit-requests-reset": b"2026-11-21T12:00:02Z",
        **{
            b"anthropic-ratelimit-%b-%b" % (kind, name): value
            for kind in (b"tokens", b"input-tokens", b"output-tokens")
            for name, value in tokens.items()
        },
    }


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        *[(-5, "0ms"), (0, "0ms"), (12, "12ms"), (999, "999ms"), (1000, "1s"), (1001, "2s")],
        *[(59_001, "1m0s"), (360_000, "6m0s"), (86_400_000, "24h0m0s")],
    ],
)
def test_durations_are_written_as_the_contract_does(ms: int, text: str) -> None:
    assert render_duration(ms) == text


def test_asking_again_for_another_model_is_one_more_request_to_that_model_alone() -> None:
    limits = RateLimits(5, 50, 500, 2)
    caller = principal(key_limits=limits, org_limits=limits)

    again = ask_for("req_12", caller, wanted(7, rpm=3, rpd=30), DEFAULTS, is_again=True)

    assert [(check.key, check.cost) for check in again.checks] == [
        ("rl:k:k:rpm", 0),
        ("rl:k:k:rpd", 0),
        ("rl:k:k:tpm", 7),
        ("rl:o:2:rpm", 0),
        ("rl:o:2:rpd", 0),
        ("rl:o:2:tpm", 7),
        ("rl:m:2:gpt-4o:rpm", 1),
        ("rl:m:2:gpt-4o:rpd", 1),
    ]
    assert [slots.level for slots in again.slots] == ["this key", "this organization"]

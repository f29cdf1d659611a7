"""Limits, empty purses and broken streams, as the official clients for JavaScript see them."""

import pytest

from accounts.keys import KeySpec
from billing.budgets import create_budget
from kernel.ids import random_base62
from tests.books import assert_proven
from tests.compat.node.play import needs_node, play, usage_of
from tests.factories import ACTOR, make_tenant
from tests.stage import Stage

pytestmark = needs_node

BOTH = pytest.mark.parametrize("client", ["openai", "anthropic"])


@BOTH
def test_a_rate_limit_says_when_to_come_again(stage: Stage, client: str) -> None:
    hasty = make_tenant(f"Hasty {random_base62(6)}", spec=KeySpec(name="hasty", rpm=1))
    play(stage, client, "plain", key=hasty.key_text)

    error = play(stage, client, "oneRefusal", key=hasty.key_text)

    assert (error["kinds"][0], error["status"]) == ("RateLimitError", 429)
    assert error["type"] == "rate_limit_error"
    assert 1 <= int(error["retryAfter"]) <= 60


@pytest.mark.parametrize(
    ("client", "kind", "type_"),
    [
        ("openai", "APIError", "insufficient_quota"),
        ("anthropic", "PaymentRequiredError", "billing_error"),
    ],
)
def test_without_credit_the_client_does_not_try_again(
    stage: Stage, client: str, kind: str, type_: str
) -> None:
    poor = make_tenant(f"Poor {random_base62(6)}", credit_usd="0.000001")

    error = play(stage, client, "retriedRefusal", key=poor.key_text)

    assert (error["requests"], error["retryAfter"]) == (1, None)
    assert (error["kinds"][0], error["status"], error["type"]) == (kind, 402, type_)
    assert poor.account.held_nanos == 0


@pytest.mark.parametrize(
    ("client", "kind", "type_"),
    [
        ("openai", "RateLimitError", "insufficient_quota"),
        ("anthropic", "EnforcedSpendLimitReachedError", "rate_limit_error"),
    ],
)
def test_without_budget_the_client_does_not_try_again(
    stage: Stage, client: str, kind: str, type_: str
) -> None:
    poor = make_tenant(f"Poor {random_base62(6)}")
    create_budget(org=poor.org, key=poor.key, limit_nanos=1_000, period="day", actor=ACTOR)

    error = play(stage, client, "retriedRefusal", key=poor.key_text)

    assert (error["requests"], error["retryAfter"]) == (1, None)
    assert (error["kinds"][0], error["status"], error["type"]) == (kind, 429, type_)
    assert "RateLimitError" in error["kinds"]
    assert poor.account.held_nanos == 0


@BOTH
def test_a_stream_that_breaks_raises_and_costs_what_was_said(stage: Stage, client: str) -> None:
    error = play(stage, client, "broken")

    assert error["kinds"][0] == "APIError"
    assert "status" not in error, "undefined is left out of JSON"
    assert error["message"].count("The model's provider broke off its answer.") == 1
    [event] = usage_of(stage)
    assert (event.outcome, event.output) == ("truncated", error["pieces"])
    assert_proven(stage.stores.database_url, stage.journals)

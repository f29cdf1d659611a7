"""What is refused where a caller names several models: what ends a call, and what moves."""

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.keys import KeySpec, mint_key
from billing.budgets import BudgetSpec, add_budget
from billing.models import UsageEvent
from gateway.offers import limit_model
from tests.books import assert_proven
from tests.calls import post, transcript, wait_for
from tests.gateway.routing.falling_back import (
    CHAT,
    MESSAGES,
    BrokenHouse,
    body_for,
    error_of,
    holds_of,
    open_broken_house,
)
from tests.stage import Stage


@pytest.fixture(scope="module")
def house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokenHouse]:
    with open_broken_house(django_db_blocker, tmp_path_factory.mktemp("house")) as opened:
        yield opened


BAD_LISTS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"models": ["broken", "gone"]}, 404, "model_not_found", "Model not found: gone"),
    (
        {"models": ["broken", "unpriced"]},
        403,
        "model_not_allowed",
        "The model unpriced has no price yet and cannot be called.",
    ),
    (
        {"models": ["broken", "third"]},
        403,
        "model_not_allowed",
        "This key may not call the model third.",
    ),
    (
        {"model": "broken", "models": ["text-embedding-3-small"]},
        400,
        "invalid_value",
        "text-embedding-3-small is not a chat model. Use it with /v1/embeddings.",
    ),
    (
        {"model": "a", "models": ["b", "c", "d", "e", "f"]},
        400,
        "array_above_max_length",
        "At most 5 different models can be given.",
    ),
    (
        {"models": "broken"},
        400,
        "invalid_type",
        "Invalid type for 'models': expected an array, but got a string instead.",
    ),
    (
        {"models": ["broken", 1]},
        400,
        "invalid_type",
        "Invalid type for 'models[1]': expected a string, but got an integer instead.",
    ),
    ({"models": [""]}, 400, "invalid_value", "'models[0]' must not be empty."),
    ({"models": []}, 400, "missing_required_parameter", "You must specify a model to call"),
    ({"models": None}, 400, "missing_required_parameter", "You must specify a model to call"),
    (
        {"model": 1, "models": ["broken"]},
        400,
        "invalid_type",
        "Invalid type for 'model': expected a string, but got an integer instead.",
    ),
]


def test_every_model_is_checked_before_anything_moves(stage: Stage, house: BrokenHouse) -> None:
    allowed = ["broken", "mock", "gone", "unpriced", "text-embedding-3-small"]
    key = mint_key(stage.acme.project, KeySpec(allowed_models=allowed), actor="test").text
    house.broken.asked.clear()

    for named, status, code, message in BAD_LISTS:
        answer = post(stage.api.url, key, {**body_for(CHAT), **named})
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["message"]) == (status, code, message)

    assert (holds_of(stage), house.broken.asked) == ([], [])


def test_anthropics_dialect_names_the_field_at_fault(stage: Stage) -> None:
    bad_lists: list[dict[str, Any]] = [
        {"models": ["mock", "gone"]},
        {"models": [1]},
        {"models": [""]},
        {"models": {}},
        {"models": []},
        {"models": [*"abcdef"]},
    ]

    said = [
        error_of(
            post(stage.api.url, stage.acme.key_text, {**body_for(MESSAGES), **named}, path=MESSAGES)
        )["message"]
        for named in bad_lists
    ]

    assert said == [
        "Model not found: gone",
        "models.0: Input should be a valid string",
        "models.0: String should have at least 1 character",
        "models: Input should be a valid array",
        "model: Field required",
        "models: List should name at most 5 different models",
    ]
    assert holds_of(stage) == []


def test_where_every_model_fails_the_last_failure_is_told_and_nothing_is_charged(
    stage: Stage,
) -> None:
    body = body_for(CHAT, "broken", "mock", mock={"status": 500})

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert (answer.status_code, error_of(answer)["code"]) == (502, "upstream_error")
    wait_for(lambda: holds_of(stage) == [("broken", "released"), ("mock", "released")])
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_request_that_a_provider_refuses_is_not_asked_of_the_next_model(stage: Stage) -> None:
    body = body_for(CHAT, "mock", "third", user="refused", mock={"status": 400})

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert answer.status_code == 400
    asked = [e["model"] for e in transcript(stage.upstream.url) if e["user"] == "refused"]
    assert asked == ["up-1"]
    wait_for(lambda: holds_of(stage) == [("mock", "released")])


@pytest.mark.parametrize(
    ("limited", "holds", "asked"),
    [("broken", [], 0), ("mock", [("broken", "released")], 1)],
)
def test_a_budget_that_refuses_ends_the_call(
    stage: Stage, house: BrokenHouse, limited: str, holds: list[tuple[str, str]], asked: int
) -> None:
    add_budget(stage.acme.org, BudgetSpec("day", limit_nanos=1, model=limited), actor="test")
    house.broken.asked.clear()
    before = len(transcript(stage.upstream.url))

    answer = post(stage.api.url, stage.acme.key_text, body_for(CHAT, "broken", "mock", "third"))

    assert (answer.status_code, error_of(answer)["code"]) == (
        429,
        "organization_spend_limit_exceeded",
    )
    assert f"for {limited} has no room" in error_of(answer)["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert holds_of(stage) == holds
    assert (len(house.broken.asked), len(transcript(stage.upstream.url))) == (asked, before)
    assert stage.acme.account.held_nanos == 0
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_limit_of_the_next_model_ends_the_call(stage: Stage) -> None:
    limit_model("third", {"rpm": 1}, actor="test")
    try:
        wait_for(
            lambda: (
                post(stage.api.url, stage.acme.key_text, body_for(CHAT, "third")).status_code == 429
            ),
            what="the limit",
        )
        before = len(transcript(stage.upstream.url))

        answer = post(stage.api.url, stage.acme.key_text, body_for(CHAT, "broken", "third", "mock"))
    finally:
        limit_model("third", {"rpm": None}, actor="test")

    assert (answer.status_code, error_of(answer)["code"]) == (429, "rate_limit_exceeded")
    assert "this organization on this model" in error_of(answer)["message"]
    assert len(transcript(stage.upstream.url)) == before
    wait_for(lambda: holds_of(stage)[-1] == ("broken", "released"))
    assert "mock" not in {model for model, _ in holds_of(stage)}
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_call_with_fallbacks_is_one_request_of_its_key(stage: Stage) -> None:
    key = mint_key(stage.acme.project, KeySpec(rpm=2), actor="test").text
    body = body_for(CHAT, "broken", "mock", mock={"chunks": 2})

    answers = [post(stage.api.url, key, body) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == [
        "1",
        "0",
        "0",
    ]


def test_the_next_model_runs_in_the_slot_of_the_one_before(stage: Stage) -> None:
    key = mint_key(stage.acme.project, KeySpec(concurrency=1), actor="test").text

    answer = post(stage.api.url, key, body_for(CHAT, "broken", "mock", mock={"chunks": 2}))

    assert (answer.status_code, answer.json()["model"]) == (200, "mock")

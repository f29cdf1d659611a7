"""A model by another name: the same price, limits, usage and budgets; the answer keeps the name."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key
from billing.budgets import BudgetSpec, add_budget
from billing.models import Hold, PriceVersion, UsageEvent
from gateway.offers import alias_model, limit_model, remove_alias
from kernel.ids import random_base62
from tests.books import assert_proven
from tests.calls import chat_body, frames, post, wait_for
from tests.stage import Stage


@pytest.fixture
def alias(stage: Stage) -> Iterator[str]:
    """Another name of ``mock``, known to the api process."""
    name = f"nickname-{random_base62(6)}"
    alias_model(name, "mock", actor="test")
    wait_for(lambda: name in listed(stage, stage.acme.key_text), what="the alias")
    yield name
    remove_alias(name, actor="test")


def listed(stage: Stage, key: str, path: str = "/v1/models") -> dict[str, dict[str, Any]]:
    answer = requests.get(
        stage.api.url + path, headers={"authorization": f"Bearer {key}"}, timeout=10
    )
    return {model["id"]: model for model in answer.json()["data"]}


def mint(stage: Stage, *models: str) -> str:
    spec = KeySpec(allowed_models=list(models))
    return mint_key(stage.acme.project, spec, actor="test").text


def usage_of(stage: Stage) -> UsageEvent:
    event: UsageEvent = wait_for(
        UsageEvent.objects.filter(org_id=stage.acme.org.pk).first, what="the usage row"
    )
    return event


@pytest.mark.parametrize("stream", [False, True])
def test_an_alias_is_answered_under_its_name_and_billed_as_its_model(
    stage: Stage, alias: str, *, stream: bool
) -> None:
    answer = post(
        stage.api.url, stage.acme.key_text, chat_body(alias, stream=stream, mock={"chunks": 5})
    )

    chunks = [c for c in frames(answer.text) if c != "[DONE]"] if stream else [answer.json()]
    assert {chunk["model"] for chunk in chunks} == {alias}
    event = usage_of(stage)
    assert (event.model, event.input, event.output) == ("mock", 9, 5)
    assert event.amount_nanos == 9 * 1_000 + 5 * 2_000
    assert event.price_version_id == PriceVersion.objects.get(model="mock").pk
    assert Hold.objects.get(org_id=stage.acme.org.pk).model == "mock"
    assert_proven(stage.stores.database_url, stage.journals)


def test_an_alias_works_in_anthropics_dialect(stage: Stage, alias: str) -> None:
    body = {**chat_body(alias), "max_tokens": 20}

    answer = post(stage.api.url, stage.acme.key_text, body, path="/anthropic/v1/messages")

    assert (answer.status_code, answer.json()["model"]) == (200, alias)
    assert usage_of(stage).model == "mock"


def test_an_alias_is_listed_with_what_its_model_says_of_itself(stage: Stage, alias: str) -> None:
    models = listed(stage, stage.acme.key_text)
    one = requests.get(
        f"{stage.api.url}/v1/models/{alias}",
        headers={"authorization": f"Bearer {stage.acme.key_text}"},
        timeout=10,
    ).json()

    assert models[alias] == {**models["mock"], "id": alias} == one
    assert list(models) == sorted(models)
    page = listed(stage, stage.acme.key_text, "/anthropic/v1/models?limit=1000")
    assert page[alias]["max_input_tokens"] == page["mock"]["max_input_tokens"]


def test_a_key_may_call_an_alias_that_is_allowed_by_either_name(stage: Stage, alias: str) -> None:
    by_alias, by_model, by_none = mint(stage, alias), mint(stage, "mock"), mint(stage, "hacxgpt")

    allowed = [post(stage.api.url, key, chat_body(alias)) for key in (by_alias, by_model)]
    refused = [
        post(stage.api.url, key, chat_body(model))
        for key, model in ((by_none, alias), (by_alias, "mock"))
    ]

    assert [answer.status_code for answer in allowed] == [200, 200]
    assert [answer.status_code for answer in refused] == [403, 403]
    assert refused[0].json()["error"]["message"] == f"This key may not call the model {alias}."
    assert set(listed(stage, by_alias)) == {alias}
    assert set(listed(stage, by_model)) >= {alias, "mock"}
    assert Hold.objects.filter(org_id=stage.acme.org.pk).count() == 2


def test_budgets_and_rate_limits_of_the_model_hold_for_its_alias(stage: Stage, alias: str) -> None:
    limit_model("mock", {"rpm": 2}, actor="test")
    try:
        wait_for(
            lambda: post(stage.api.url, stage.acme.key_text, chat_body(alias)).status_code == 429,
            what="the limit",
        )
        limited = post(stage.api.url, stage.acme.key_text, chat_body("mock"))
        assert "this organization on this model" in limited.json()["error"]["message"]
    finally:
        limit_model("mock", {"rpm": None}, actor="test")
    spec = BudgetSpec("day", limit_tokens=1, model="mock")
    add_budget(stage.acme.org, spec, actor="test")

    wait_for(
        lambda: (
            "for mock"
            in post(stage.api.url, stage.acme.key_text, chat_body(alias)).json()["error"]["message"]
        ),
        what="the budget",
    )


def test_a_removed_alias_is_not_found_again(stage: Stage) -> None:
    name = f"gone-{random_base62(6)}"
    alias_model(name, "mock", actor="test")
    wait_for(lambda: name in listed(stage, stage.acme.key_text), what="the alias")

    remove_alias(name, actor="test")

    wait_for(lambda: name not in listed(stage, stage.acme.key_text), what="its end")
    answer = post(stage.api.url, stage.acme.key_text, chat_body(name))
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404,
        f"Model not found: {name}",
    )
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()

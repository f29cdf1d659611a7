"""Models with prices and limits: what each caller pays, in both wires, as both clients read it."""

from typing import Any

import pytest
import requests
from anthropic import Anthropic
from openai import OpenAI

from billing.models import UsageEvent
from billing.prices import PriceSpec, text_price
from billing.pricing import Tier
from billing.usage import Usage
from gateway.offers import create_model, limit_model, price_model
from kernel.ids import random_base62
from tests.calls import chat_body, post, wait_for
from tests.factories import make_tenant
from tests.stage import Stage

DOLLAR = 1_000_000_000
OPENAIS, ANTHROPICS = "/v1/models/", "/anthropic/v1/models/"
NO_LIMITS = {"rpm": None, "rpd": None, "tpm": None, "concurrency": None}


@pytest.fixture
def model(stage: Stage) -> str:
    """A model at 1.25 and 10 dollars, dearer past 200,000 tokens, of 60 requests a minute."""
    name = f"priced/{random_base62(8)}"
    create_model(name, provider="mock", upstream_model="up-1", price=None, actor="test")
    limit_model(name, {"rpm": 60, "tpm": 1_000}, actor="test")
    tiers = {"input": (Tier(200_000, 2_500_000_000),)}
    # last, since a model is found once it has its price
    price_model(PriceSpec(name, text_price(1_250_000_000, 10 * DOLLAR), tiers=tiers), actor="test")
    return name


def find(stage: Stage, name: str, key: str, path: str = OPENAIS) -> Any:
    """Return a model as a key finds it, once the process has heard of it."""

    def ask() -> Any:
        answer = requests.get(
            stage.api.url + path + name, headers={"authorization": f"Bearer {key}"}, timeout=10
        )
        return answer.status_code == 200 and answer.json()

    return wait_for(ask, what="the model")


@pytest.mark.parametrize("path", [OPENAIS, ANTHROPICS])
def test_a_model_is_listed_with_its_prices_tiers_and_limits(
    stage: Stage, model: str, path: str
) -> None:
    found = find(stage, model, stage.acme.key_text, path)

    assert found["x_tollgate"] == {
        "usd_per_million": {
            "input": "1.25",
            "cached_input": "1.25",
            "cache_write": "1.25",
            "output": "10.00",
            "reasoning": "10.00",
            "embedding": "1.25",
        },
        "tiers": {"input": [{"above": 200_000, "usd_per_million": "2.50"}]},
        "limits": {**NO_LIMITS, "rpm": 60, "tpm": 1_000},
    }


def test_programs_that_compare_models_find_what_they_read(stage: Stage, model: str) -> None:
    found = find(stage, model, stage.acme.key_text)

    assert (found["context_length"], found["top_provider"]["max_completion_tokens"]) == (
        128_000,
        8_192,
    )
    pricing = found["pricing"]
    assert (pricing["prompt"], pricing["completion"]) == ("0.00000125", "0.00001")
    assert (pricing["image"], pricing["request"]) == ("0", "0")


def test_an_organization_sees_its_own_price_and_nobody_elses(stage: Stage, model: str) -> None:
    globex = make_tenant(f"Globex {random_base62(6)}")
    own = PriceSpec(model, text_price(DOLLAR, 2 * DOLLAR), org=stage.acme.org)
    price_model(own, actor="test")

    def price_of(key: str) -> Any:
        return find(stage, model, key)["x_tollgate"]["usd_per_million"]["output"]

    wait_for(lambda: price_of(stage.acme.key_text) == "2.00", what="the own price")
    assert price_of(globex.key_text) == "10.00"


def test_the_listed_price_is_what_a_call_costs(stage: Stage) -> None:
    listed = find(stage, "mock", stage.acme.key_text)["pricing"]

    post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 5}))

    usage = wait_for(UsageEvent.objects.filter(org_id=stage.acme.org.pk).first)
    assert (listed["prompt"], listed["completion"]) == ("0.000001", "0.000002")
    assert usage.amount_nanos == usage.input * 1_000 + usage.output * 2_000


def test_a_free_model_and_one_for_embeddings_say_so(stage: Stage) -> None:
    free = f"free-{random_base62(8)}"
    create_model(free, provider="mock", upstream_model="f", price=None, actor="test")
    price_model(PriceSpec(free, Usage(), is_free=True), actor="test")

    shown = find(stage, free, stage.acme.key_text)["x_tollgate"]["usd_per_million"]
    vectors = find(stage, "text-embedding-3-small", stage.acme.key_text)["x_tollgate"]

    assert shown == {"input": "0.00", "output": "0.00"}
    assert vectors["usd_per_million"] == {"embedding": "0.02"}


def test_the_official_clients_read_the_lists(stage: Stage, model: str) -> None:
    find(stage, model, stage.acme.key_text)
    openai = OpenAI(base_url=stage.api.url + "/v1", api_key=stage.acme.key_text)
    anthropic = Anthropic(base_url=stage.api.url + "/anthropic", api_key=stage.acme.key_text)

    ours = {each.id: each for each in openai.models.list()}[model]
    theirs = {each.id: each for each in anthropic.models.list(limit=1000)}[model]

    assert (ours.object, ours.owned_by) == ("model", "tollgate")
    assert (ours.model_extra or {})["pricing"]["prompt"] == "0.00000125"
    assert theirs.display_name == model
    assert (theirs.model_extra or {})["x_tollgate"]["limits"]["rpm"] == 60

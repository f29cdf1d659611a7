"""A key asks where it stands: limits, budgets, credit."""

import time
from typing import Any

from accounts.keys import KeySpec, mint_key
from accounts.models import Project
from accounts.rate_limits import limit_key, limit_org, limit_project
from billing.budgets import BudgetSpec, add_budget, create_budget
from kernel.ids import random_base62
from kernel.money import parse_usd, render_usd
from tests.api.customer import get, hold, settled_call
from tests.books import run_tick
from tests.factories import ACTOR, Tenant, hold_request, make_price, make_tenant
from tests.stage import House, Stage


def budget(tenant: Tenant, usd: str, period: str, **level: Any) -> None:
    create_budget(org=tenant.org, limit_nanos=parse_usd(usd), period=period, actor=ACTOR, **level)


def test_a_key_is_known_at_its_addresses_only(stage: Stage) -> None:
    here, elsewhere = (
        mint_key(stage.acme.project, KeySpec(allowed_networks=[network]), actor=ACTOR).text
        for network in ("127.0.0.0/8", "203.0.113.0/24")
    )

    assert get(stage.api, "/v1/key", here).json()["allowed_networks"] == ["127.0.0.0/8"]
    refused = get(stage.api, "/v1/key", elsewhere)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "address_not_allowed")


def test_a_key_knows_itself_and_what_binds_it(stage: Stage) -> None:
    spec = KeySpec(name="ci", rpm=60, allowed_models=["mock"], concurrency=3)
    minted = mint_key(stage.acme.project, spec, actor=ACTOR)

    body = get(stage.api, "/v1/key", minted.text).json()

    assert body["object"] == "key"
    assert (body["id"], body["name"]) == (minted.key.public_id, "ci")
    assert body["masked"] == minted.key.masked
    assert minted.text not in str(body)
    assert body["project"] == {"id": stage.acme.project.public_id, "name": "Default"}
    assert body["organization"] == {"id": stage.acme.org.public_id, "name": stage.acme.org.name}
    assert body["allowed_models"] == ["mock"]
    assert body["limits"] == {
        "requests_per_minute": 60,
        "requests_per_day": None,
        "tokens_per_minute": 10_000_000,
        "concurrent_requests": 3,
    }
    none = dict.fromkeys(body["limits"])
    assert body["limits_by_level"] == [
        {"level": "key", **body["limits"]},
        {"level": "project", **none},
        {"level": "organization", **none},
    ]
    assert body["budgets"] == []
    assert body["effective"] == {
        "level": "credit",
        "remaining": "100.000000000",
        "renews_at": None,
    }
    assert body["balance"] == {
        "currency": "usd",
        "available": "100.000000000",
        "reserved": "0.000000000",
        "credit_limit": "0.000000000",
        "owed": "0.000000000",
    }


def test_the_lowest_rate_limit_of_all_levels_is_the_effective_one(stage: Stage) -> None:
    acme = stage.acme
    limit_key(acme.key, {"rpm": 60, "concurrency": 5}, actor=ACTOR)
    limit_project(acme.project, {"rpm": 90, "rpd": 1_000, "concurrency": 2}, actor=ACTOR)
    limit_org(acme.org, {"rpm": 30, "tpm": 5_000}, actor=ACTOR)

    body = get(stage.api, "/v1/key", acme.key_text).json()

    def limits(*values: int | None) -> dict[str, int | None]:
        names = "requests_per_minute requests_per_day tokens_per_minute concurrent_requests"
        return dict(zip(names.split(), values, strict=True))

    assert body["limits"] == limits(30, 1_000, 5_000, 2)
    assert body["limits_by_level"] == [
        {"level": "key", **limits(60, None, 10_000_000, 5)},
        {"level": "project", **limits(90, 1_000, None, 2)},
        {"level": "organization", **limits(30, None, 5_000, None)},
    ]


def test_token_budgets_and_those_of_a_model_have_their_effective_limits(stage: Stage) -> None:
    acme = stage.acme
    for spec in (
        BudgetSpec("month", limit_tokens=9_000),
        BudgetSpec("day", limit_tokens=500, project=acme.project),
        BudgetSpec("lifetime", limit_tokens=1, key=acme.key, is_hard=False),
        BudgetSpec("lifetime", limit_nanos=parse_usd("2"), model="mock"),
    ):
        add_budget(acme.org, spec, actor="test")

    body = get(stage.api, "/v1/key", acme.key_text).json()

    assert [
        (each["model"], each["unit"], each["level"], each["remaining"])
        for each in body["effective_by_scope"]
    ] == [
        (None, "tokens", "project", 500),
        ("mock", "usd", "organization", "2.000000000"),
    ]
    assert body["effective"]["level"] == "credit"


def test_the_tightest_of_all_budgets_is_the_effective_one(stage: Stage) -> None:
    acme = stage.acme
    budget(acme, "50", "month")
    budget(acme, "0.5", "day", project=acme.project)
    budget(acme, "7", "lifetime", key=acme.key)
    elsewhere = Project.objects.create(org=acme.org, name="Elsewhere")
    budget(acme, "0.01", "day", project=elsewhere)
    hold(stage, parse_usd("0.2"))

    body = get(stage.api, "/v1/key", acme.key_text).json()

    found = [
        (each["level"], each["period"], each["limit"], each["used"], each["reserved"])
        for each in body["budgets"]
    ]
    zero, held = "0.000000000", "0.200000000"
    assert found == [
        ("organization", "month", "50.000000000", zero, held),
        ("project", "day", "0.500000000", zero, held),
        ("key", "lifetime", "7.000000000", zero, held),
    ]
    effective = body["effective"]
    assert (effective["level"], effective["remaining"]) == ("project", "0.300000000")
    assert effective["renews_at"] == body["budgets"][1]["renews_at"]
    assert effective["renews_at"] % 86_400 == 0
    assert effective["renews_at"] > time.time()
    assert body["budgets"][2]["renews_at"] is None
    assert body["balance"]["reserved"] == held
    assert body["balance"]["available"] == "99.800000000"


def test_what_a_key_reads_as_remaining_is_what_a_hold_may_take(stage: Stage) -> None:
    budget(stage.acme, "0.3", "day", key=stage.acme.key)
    hold(stage, parse_usd("0.1"))
    remaining = get(stage.api, "/v1/key", stage.acme.key_text).json()["effective"]["remaining"]

    version, _ = make_price(f"m-{random_base62(8)}")
    over = hold_request(stage.acme, version, parse_usd(remaining) + 1)
    refused = run_tick(stage.stores.database_url, holds=[over]).held[over.request_id]
    hold(stage, parse_usd(remaining))

    assert refused is not None
    assert refused.why == "budget"
    after = get(stage.api, "/v1/key", stage.acme.key_text).json()["effective"]
    assert (after["level"], after["remaining"]) == ("key", "0.000000000")


def test_credits_minus_usage_are_the_balance(stage: Stage) -> None:
    _, event = settled_call(stage)
    hold(stage, parse_usd("0.25"))

    body = get(stage.api, "/v1/credits", stage.acme.key_text).json()

    left = parse_usd("100") - event.amount_nanos
    assert event.amount_nanos > 0
    assert body == {
        "object": "credits",
        "total_credits": "100.000000000",
        "total_usage": render_usd(event.amount_nanos),
        "balance": render_usd(left),
        "currency": "usd",
        "available": render_usd(left - parse_usd("0.25")),
        "reserved": "0.250000000",
        "credit_limit": "0.000000000",
        "owed": "0.000000000",
    }


def test_an_account_on_credit_has_no_balance_but_a_limit(house: House) -> None:
    name = f"Owes {random_base62(6)}"
    owes = make_tenant(name, mode="postpaid", credit_usd="0", credit_limit_usd="5")

    body = get(house.api, "/v1/credits", owes.key_text).json()

    assert (body["total_credits"], body["balance"]) == ("0.000000000", "0.000000000")
    assert (body["available"], body["credit_limit"]) == ("5.000000000", "5.000000000")

"""Prices, credit and reversals as a caller meets them: through the door of a live api process."""

import itertools
from datetime import timedelta

from billing.budgets import BudgetSpec, add_budget
from billing.grants import GrantSpec, grant_credit
from billing.models import GrantBurn, OutboxEvent, UsageEvent, UsageReversal
from billing.prices import PriceSpec, publish, set_provider_cost, text_price
from billing.usage import Usage
from gateway.models import Provider
from gateway.news import announce_catalog_change
from gateway.offers import create_model
from kernel import clock
from kernel.ids import new_id, random_base62
from kernel.money import parse_usd
from tests.books import assert_proven
from tests.calls import chat_body, post, wait_for
from tests.factories import ACTOR, make_tenant
from tests.stage import Stage


def usage_of(stage: Stage, count: int = 1) -> UsageEvent:
    """Return the last of ``count`` settled calls of this test's tenant."""
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk).order_by("-occurred_at")
    wait_for(lambda: rows.count() == count, what="the settlement")
    return rows[0]


def offer(price: PriceSpec) -> None:
    create_model(
        price.model, provider="simulator", upstream_model="hacxgpt", price=None, actor=ACTOR
    )
    publish(price, actor=ACTOR)
    announce_catalog_change()


def new_model() -> str:
    return f"m-{random_base62(8)}"


def call(stage: Stage, model: str, **headers: str) -> int:
    answer = post(stage.api.url, stage.acme.key_text, chat_body(model, max_tokens=8), **headers)
    return answer.status_code


def test_an_organization_pays_its_own_price(stage: Stage) -> None:
    model = new_model()
    offer(PriceSpec(model, text_price(parse_usd("1"), parse_usd("2"))))
    own = publish(
        PriceSpec(model, text_price(parse_usd("0.50"), parse_usd("1")), org=stage.acme.org),
        actor=ACTOR,
    )
    announce_catalog_change()
    paid = UsageEvent.objects.filter(org_id=stage.acme.org.pk, price_version_id=own.pk)
    wait_for(lambda: call(stage, model) == 200 and paid.exists(), what="a call at its own price")

    row = paid[0]

    assert row.amount_nanos == row.input * 500 + row.output * 1_000
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_model_with_a_price_for_one_organization_only_is_nobody_elses(stage: Stage) -> None:
    model, globex = new_model(), make_tenant("Globex")
    offer(PriceSpec(model, text_price(parse_usd("1"), parse_usd("2")), org=stage.acme.org))
    wait_for(lambda: call(stage, model) == 200, what="the model")

    theirs = post(stage.api.url, globex.key_text, chat_body(model))

    assert (theirs.status_code, theirs.json()["error"]["code"]) == (403, "model_not_allowed")


def test_a_free_model_runs_without_credit_and_is_metered(stage: Stage) -> None:
    model, poor = new_model(), make_tenant("Poor", credit_usd="0")
    offer(PriceSpec(model, Usage(), is_free=True))
    wait_for(
        lambda: post(stage.api.url, poor.key_text, chat_body(model)).status_code == 200,
        what="the free model",
    )

    row = usage_of(Stage(stage.stores, stage.api, stage.upstream, stage.folder, poor))

    assert row.output > 0
    assert (row.amount_nanos, poor.account.held_nanos) == (0, 0)
    assert_proven(stage.stores.database_url, stage.journals)


def test_the_providers_cost_stands_beside_the_price(stage: Stage) -> None:
    model = new_model()
    offer(PriceSpec(model, text_price(parse_usd("1"), parse_usd("2"))))
    simulator = Provider.objects.get(name="simulator")
    set_provider_cost(
        simulator.name, "hacxgpt", text_price(parse_usd("0.25"), parse_usd("0.75")), actor=ACTOR
    )
    announce_catalog_change()
    wait_for(lambda: call(stage, model) == 200, what="the model")
    wait_for(
        lambda: call(stage, model) == 200 and usage_of_any_cost(stage), what="a call with its cost"
    )

    row = UsageEvent.objects.filter(
        org_id=stage.acme.org.pk, upstream_nanos__isnull=False
    ).order_by("-occurred_at")[0]

    assert row.upstream_nanos == row.input * 250 + row.output * 750
    assert (row.counted_input, row.counted_output) == (row.input, row.output)


def usage_of_any_cost(stage: Stage) -> bool:
    return UsageEvent.objects.filter(
        org_id=stage.acme.org.pk, upstream_nanos__isnull=False
    ).exists()


def test_a_token_budget_ends_a_stream_cleanly_and_says_so_afterwards(stage: Stage) -> None:
    add_budget(stage.acme.org, BudgetSpec("day", limit_tokens=1_500, key=stage.acme.key), actor="t")
    body = chat_body(stream=True, max_tokens=4_000, mock={"chunks": 3_000})

    first = post(stage.api.url, stage.acme.key_text, body)
    refused = post(stage.api.url, stage.acme.key_text, chat_body(max_tokens=1_000))

    assert first.status_code == 200
    assert '"finish_reason":"length"' in first.text
    assert "budget_exhausted" in first.text
    assert refused.status_code == 429
    assert "tokens" in refused.json()["error"]["message"]
    assert "budget" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    wait_for(lambda: OutboxEvent.objects.filter(org=stage.acme.org).exists(), what="the alert")
    assert_proven(stage.stores.database_url, stage.journals)


def test_promotional_credit_for_a_model_pays_for_it_first(stage: Stage) -> None:
    grant = grant_credit(
        stage.acme.org,
        GrantSpec(
            parse_usd("1"),
            "welcome",
            new_id("credit"),
            kind="promotional",
            allowed_models=["hacxgpt"],
            expires_at=clock.now() + timedelta(days=30),
        ),
        actor=ACTOR,
    )

    assert (call(stage, "hacxgpt"), call(stage, "gpt-4o")) == (200, 200)

    usage_of(stage, 2)
    paid = UsageEvent.objects.get(org_id=stage.acme.org.pk, model="hacxgpt")
    burns = GrantBurn.objects.filter(grant=grant)
    assert [(burn.request_id, burn.amount_nanos) for burn in burns] == [
        (paid.request_id, paid.amount_nanos)
    ]
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_call_the_upstream_broke_off_is_paid_once_however_often_it_is_sent_again(
    stage: Stage,
) -> None:
    body = chat_body(stream=True, mock={"chunks": 20, "fail_after": 10})
    events = []

    for sent in (1, 2, 3):
        broken = post(stage.api.url, stage.acme.key_text, body, **{"Idempotency-Key": "again"})
        assert '"error"' in broken.text
        events.append(usage_of(stage, sent))

    assert [event.outcome for event in events] == ["truncated"] * 3
    reversals = UsageReversal.objects.filter(org_id=stage.acme.org.pk).order_by("reversed_at")
    assert [(r.request_id, r.by_request_id, r.amount_nanos) for r in reversals] == [
        (first.request_id, then.request_id, first.amount_nanos)
        for first, then in itertools.pairwise(events)
    ]
    assert stage.acme.account.deferred_nanos == parse_usd("100") - events[-1].amount_nanos
    assert_proven(stage.stores.database_url, stage.journals)

"""Budgets: in money or tokens, on four levels, from an anchor, hard or soft, with alerts."""

from typing import Any

import pytest

from billing.budgets import BudgetSpec, add_budget, change_budget_limit, check_budget, end_budget
from billing.holds import Extension, HoldRequest
from billing.models import Budget, BudgetWindow, OutboxEvent, PriceVersion
from billing.pricing import Price
from kernel.errors import TollgateError
from tests.books import assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant


def budget(tenant: Tenant, **how: Any) -> Budget:
    return add_budget(tenant.org, BudgetSpec(**{"period": "lifetime", **how}), actor="test")


def asking(tenant: Tenant, version: PriceVersion, nanos: int, tokens: int) -> HoldRequest:
    return hold_request(tenant, version, nanos)._replace(amount_tokens=tokens)


def use(database: str, tenant: Tenant, version: PriceVersion, price: Price, tokens: int) -> None:
    request = asking(tenant, version, price.ceiling(input_tokens=0, output_tokens=tokens), tokens)
    assert run_tick(database, holds=[request]).held == {request.request_id: None}
    closing = settlement(request.request_id, price, input_tokens=0, output_tokens=tokens)
    run_tick(database, closings=[closing])


def told(tenant: Tenant) -> list[tuple[int, str]]:
    events = OutboxEvent.objects.filter(org=tenant.org, kind="budget.threshold_reached")
    return [(event.payload["percent"], event.payload["used"]) for event in events.order_by("id")]


def test_a_token_budget_counts_tokens_whatever_they_cost_and_says_so(database: str) -> None:
    acme = make_tenant()
    version, price = make_price()
    budget(acme, limit_tokens=100, key=acme.key)

    use(database, acme, version, price, 70)
    refused = run_tick(database, holds=[asking(acme, version, 1, 31)])
    passed = run_tick(database, holds=[asking(acme, version, 1, 30)])

    (refusal,) = refused.held.values()
    assert refusal is not None
    error = refusal.as_error()
    assert "budget of this key has no room for this request: limit 100 tokens" in error.message
    assert error.details["available"] == "30 tokens"
    assert list(passed.held.values()) == [None]
    window = BudgetWindow.objects.get()
    assert (window.settled_tokens, window.held_tokens) == (70, 30)
    assert_proven(database)


def test_a_token_budget_never_counts_more_than_was_held(database: str) -> None:
    acme = make_tenant()
    version, price = make_price()
    budget(acme, limit_tokens=50)
    request = asking(acme, version, 1_000_000, 50)
    run_tick(database, holds=[request])

    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=9, output_tokens=90)]
    )

    assert BudgetWindow.objects.get().settled_tokens == 50
    assert_proven(database)


def test_an_extension_asks_token_budgets_too(database: str) -> None:
    acme = make_tenant()
    version, _ = make_price()
    budget(acme, limit_tokens=100)
    request = asking(acme, version, 1_000, 90)
    run_tick(database, holds=[request])

    within = run_tick(database, extensions=[Extension(request.request_id, 5, 10)])
    beyond = run_tick(database, extensions=[Extension(request.request_id, 5, 1)])

    assert within.extended == {request.request_id: True}
    assert beyond.extended == {request.request_id: False}
    assert_proven(database)


@pytest.mark.parametrize("level", ["organization", "project", "key"])
def test_a_budget_on_a_model_binds_that_model_alone(database: str, level: str) -> None:
    acme = make_tenant()
    version, _ = make_price("m")
    other, _ = make_price("n")
    limited: dict[str, Any] = {}
    if level != "organization":
        limited = {level: acme.project if level == "project" else acme.key}
    budget(acme, limit_nanos=500, model="m", **limited)

    answer = run_tick(database, holds=[hold_request(acme, v, 600) for v in (version, other)])

    first, second = answer.held.values()
    assert first is not None
    assert second is None
    assert f"budget of this {level} for m has no room" in first.as_error().message
    assert_proven(database)


def test_a_soft_budget_refuses_nothing_and_counts_everything(database: str) -> None:
    acme = make_tenant()
    version, price = make_price(output_usd="1.00")
    budget(acme, limit_nanos=1_000, is_hard=False, alert_percents=[100, 200])

    use(database, acme, version, price, 3)

    assert BudgetWindow.objects.get().settled_nanos == 3_000
    assert told(acme) == [(100, "3000"), (200, "3000")]
    assert_proven(database)


def test_the_tightest_of_several_budgets_answers(database: str) -> None:
    acme = make_tenant()
    version, _ = make_price()
    budget(acme, limit_nanos=900)
    budget(acme, limit_nanos=800, project=acme.project)
    budget(acme, limit_nanos=850, key=acme.key)

    answer = run_tick(database, holds=[hold_request(acme, version, 1_000)])

    (refusal,) = answer.held.values()
    assert refusal is not None
    assert (refusal.facts["level"], refusal.facts["limit"]) == ("project", 800)
    assert all(window.held_nanos == 0 for window in BudgetWindow.objects.all())


def test_an_ended_budget_refuses_nothing(database: str) -> None:
    acme = make_tenant()
    version, _ = make_price()
    end_budget(budget(acme, limit_nanos=0), actor="test")

    answer = run_tick(database, holds=[hold_request(acme, version, 1_000)])

    assert list(answer.held.values()) == [None]


def test_each_threshold_is_told_once_a_window_and_armed_again_well_above_the_use(
    database: str,
) -> None:
    acme = make_tenant()
    version, price = make_price(output_usd="1.00")
    monthly = budget(acme, limit_nanos=10_000, period="month")

    for tokens in (4, 1, 1, 2, 1, 1):
        use(database, acme, version, price, tokens)
    before = told(acme)
    change_budget_limit(monthly, 11_000, actor="test")
    use(database, acme, version, price, 1)
    hardly_more = told(acme)
    change_budget_limit(monthly, 100_000, actor="test")
    use(database, acme, version, price, 50)

    assert before == [(50, "5000"), (80, "8000"), (100, "10000")]
    assert hardly_more == before
    assert told(acme)[3:] == [(50, "61000")]
    assert_proven(database)


@pytest.mark.parametrize("unit", ["limit_nanos", "limit_tokens"])
def test_a_hard_budget_that_refuses_is_told_once_as_used_up_and_not_again_by_what_settles(
    database: str, unit: str
) -> None:
    acme = make_tenant()
    version, price = make_price(output_usd="1.00")
    budget(acme, **{unit: 10_000}, alert_percents=[100])
    scale = 1_000 if unit == "limit_nanos" else 1
    running = asking(acme, version, 7_000, 7_000)
    run_tick(database, holds=[running])

    refused = [asking(acme, version, 4_000, 4_000) for _ in range(3)]
    answers = [run_tick(database, holds=refused[:2]), run_tick(database, holds=refused[2:])]
    after_refusals = told(acme)
    settled = settlement(running.request_id, price, input_tokens=0, output_tokens=7_000 // scale)
    run_tick(database, closings=[settled])
    rest = asking(acme, version, 3_000, 3_000)
    run_tick(database, holds=[rest])
    closing = settlement(rest.request_id, price, input_tokens=0, output_tokens=3_000 // scale)
    run_tick(database, closings=[closing])

    whys = [refusal and refusal.why for answer in answers for refusal in answer.held.values()]
    assert whys == ["budget"] * 3
    assert after_refusals == [(100, "7000")]
    assert told(acme) == after_refusals
    assert_proven(database)


def test_what_is_told_by_its_use_is_not_told_again_by_a_refusal(database: str) -> None:
    acme = make_tenant()
    version, price = make_price(output_usd="1.00")
    budget(acme, limit_nanos=10_000, alert_percents=[100])

    use(database, acme, version, price, 10)
    run_tick(database, holds=[hold_request(acme, version, 1_000)])

    assert told(acme) == [(100, "10000")]


@pytest.mark.parametrize(
    ("how", "nanos"),
    [
        ({"limit_nanos": 10_000}, 10_001),
        ({"limit_nanos": 10_000, "alert_percents": [50, 80]}, 5_001),
    ],
    ids=["a call beyond the whole limit", "nobody asked for 100 %"],
)
def test_a_refusal_that_says_nothing_of_what_is_used_is_not_told(
    database: str, how: dict[str, Any], nanos: int
) -> None:
    acme = make_tenant()
    version, _ = make_price()
    budget(acme, **how)
    run_tick(database, holds=[hold_request(acme, version, 5_000)])

    answer = run_tick(database, holds=[hold_request(acme, version, nanos)])

    (refusal,) = answer.held.values()
    assert refusal is not None
    assert refusal.why == "budget"
    assert told(acme) == []


@pytest.mark.parametrize(
    "how",
    [
        {"period": "fortnight", "limit_nanos": 1},
        {"period": "day"},
        {"period": "day", "limit_nanos": 1, "limit_tokens": 1},
        {"period": "day", "limit_nanos": -1},
        {"period": "day", "limit_tokens": True},
        {"period": "day", "limit_nanos": 1, "anchor": 24},
        {"period": "week", "limit_nanos": 1, "anchor": 0},
        {"period": "month", "limit_nanos": 1, "anchor": 32},
        {"period": "hour", "limit_nanos": 1, "anchor": 1},
        {"period": "day", "limit_nanos": 1, "alert_percents": [0]},
        {"period": "day", "limit_nanos": 1, "alert_percents": [True]},
        {"period": "day", "limit_nanos": 1, "alert_percents": list(range(1, 12))},
    ],
)
def test_a_budget_that_cannot_be_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(TollgateError):
        check_budget(BudgetSpec(**how))

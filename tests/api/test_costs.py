"""Costs: the ledger's to the last digit."""

import time
from datetime import timedelta
from decimal import Decimal

from billing.models import LedgerEntry
from billing.overview import read_spend
from kernel import clock
from tests.api.customer import (
    admin,
    admin_key,
    get,
    midnight,
    price_since,
    roll,
    second_project,
    seconds,
    use,
)
from tests.books import assert_proven
from tests.calls import chat_body, post
from tests.stage import Stage


def test_costs_are_the_ledgers_to_the_last_digit(stage: Stage) -> None:
    version, price = price_since(midnight(9))
    for number in range(1, 8):
        at = midnight(number) + timedelta(hours=number)
        use(stage, stage.acme, at, (version, price), (10**number + 1, number))
    roll(stage)

    answer = get(
        stage.api,
        "/v1/organization/costs",
        admin_key(stage.acme),
        start_time=seconds(midnight(8)),
        limit=31,
    )

    body = answer.json(parse_float=Decimal)
    values = [each["amount"]["value"] for bucket in body["data"] for each in bucket["results"]]
    entries = LedgerEntry.objects.filter(
        account__org=stage.acme.org, account__code="deferred_revenue", txn__kind="usage"
    )
    ledger = sum(entry.amount_nanos for entry in entries)
    assert [str(value) for value in values] == [
        *("10.000015000", "1.000013000", "0.100011000", "0.010009000"),
        *("0.001007000", "0.000105000", "0.000013000"),
    ]
    assert sum(values) * 10**9 == ledger
    assert_proven(stage.stores.database_url)


def test_costs_by_line_item_and_project_through_the_official_client(stage: Stage) -> None:
    other = second_project(stage.acme)
    cheap, dear = price_since(midnight(9)), price_since(midnight(9))
    use(stage, stage.acme, midnight(2), cheap, (500_000, 0))
    use(stage, other, midnight(2), dear, (0, 500_000))
    usage = admin(stage.api, stage.acme).admin.organization.usage

    page = usage.costs(
        start_time=seconds(midnight(2)), limit=1, group_by=["project_id", "line_item"]
    )
    filtered = usage.costs(
        start_time=seconds(midnight(2)), limit=1, project_ids=[other.project.public_id]
    )

    found = {
        (each.project_id, each.line_item, each.amount.value, each.amount.currency)  # type: ignore[union-attr] # costs
        for each in page.data[0].results
    }
    assert found == {
        (stage.acme.project.public_id, cheap[0].model, 0.5, "usd"),
        (other.project.public_id, dear[0].model, 1.0, "usd"),
    }
    assert [each.amount.value for each in filtered.data[0].results] == [1.0]  # type: ignore[union-attr] # costs


def test_page_api_and_ledger_show_the_same_money_for_calls_of_now(stage: Stage) -> None:
    for _ in range(3):
        assert post(stage.api.url, stage.acme.key_text, chat_body("mock")).status_code == 200
    wait_until_settled(stage)

    start = seconds(midnight(0))
    body = get(stage.api, "/v1/organization/costs", admin_key(stage.acme), start_time=start).json(
        parse_float=Decimal
    )

    (bucket,) = body["data"]
    (result,) = bucket["results"]
    page = read_spend(stage.acme.org)
    spent = 100 * 10**9 - stage.acme.account.deferred_nanos
    assert result["amount"]["value"] * 10**9 == page.today.amount_nanos == spent > 0
    assert page.today.calls == 3


def wait_until_settled(stage: Stage) -> None:
    deadline = clock.monotonic() + 5
    while stage.acme.account.held_nanos and clock.monotonic() < deadline:
        time.sleep(0.02)
    assert stage.acme.account.held_nanos == 0

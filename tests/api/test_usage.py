"""Usage and costs through the official client: exact, complete, paged, and one's own only."""

import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import openai
import pytest

from accounts.keys import KeySpec, mint_key
from accounts.models import Project
from billing.database import connect_sync
from billing.models import LedgerEntry
from billing.overview import read_spend
from billing.rollups import roll_up
from kernel import clock
from kernel.ids import random_base62
from tests.api.customer import DAY_S, admin, admin_key, get, midnight, price_since, seconds
from tests.billing.past import use_at
from tests.books import assert_proven
from tests.calls import chat_body, post
from tests.factories import ACTOR, Tenant, make_tenant
from tests.stage import Stage


def second_project(tenant: Tenant) -> Tenant:
    """The same organization with another project and key."""
    project = Project.objects.create(org=tenant.org, name="Other")
    minted = mint_key(project, KeySpec(name="other"), actor=ACTOR)
    return replace(tenant, project=project, key=minted.key, key_text=minted.text)


def roll(stage: Stage) -> int:
    with connect_sync(stage.stores.database_url, "roll", statement_timeout_ms=10_000) as store:
        return roll_up(store)


def use(stage: Stage, tenant: Tenant, at: Any, priced: Any, tokens: tuple[int, int]) -> str:
    return use_at(
        stage.stores.database_url,
        tenant,
        at,
        priced,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
    )


def test_days_of_usage_have_every_call_whether_rolled_up_or_not(stage: Stage) -> None:
    priced = price_since(midnight(9))
    use(stage, stage.acme, midnight(3) + timedelta(hours=1), priced, (10, 20))
    use(stage, stage.acme, midnight(3) + timedelta(hours=23, minutes=59), priced, (1, 2))
    roll(stage)
    use(stage, stage.acme, midnight(3) + timedelta(hours=5), priced, (100, 200))
    use(stage, stage.acme, midnight(1), priced, (7, 0))

    page = admin(stage.api, stage.acme).admin.organization.usage.completions(
        start_time=seconds(midnight(4)), end_time=seconds(midnight(0))
    )

    assert page.object == "page"
    assert (page.has_more, page.next_page) == (False, None)
    days = [(bucket.start_time, bucket.end_time) for bucket in page.data]
    assert days == [(at, at + DAY_S) for at in (seconds(midnight(ago)) for ago in (4, 3, 2, 1))]
    found: list[list[Any]] = [
        [(each.input_tokens, each.output_tokens, each.num_model_requests) for each in day.results]  # type: ignore[union-attr] # completions
        for day in page.data
    ]
    assert found == [[], [(111, 222, 3)], [], [(7, 0, 1)]]
    (result,) = page.data[1].results
    assert result.object == "organization.usage.completions.result"
    assert (result.project_id, result.api_key_id, result.model) == (None, None, None)


def test_groups_are_told_apart_by_project_key_and_model(stage: Stage) -> None:
    other = second_project(stage.acme)
    cheap, dear = price_since(midnight(9)), price_since(midnight(9))
    at = midnight(2) + timedelta(hours=3)
    use(stage, stage.acme, at, cheap, (1, 1))
    use(stage, stage.acme, at, dear, (2, 2))
    use(stage, other, at, dear, (4, 4))
    usage = admin(stage.api, stage.acme).admin.organization.usage

    page = usage.completions(
        start_time=seconds(midnight(2)),
        limit=1,
        group_by=["project_id", "api_key_id", "model"],
    )
    models = usage.completions(start_time=seconds(midnight(2)), limit=1, group_by=["model"])

    def row(tenant: Tenant, priced: Any, tokens: int) -> tuple[Any, ...]:
        return (tenant.project.public_id, tenant.key.public_id, priced[0].model, tokens)

    found = {(e.project_id, e.api_key_id, e.model, e.input_tokens) for e in page.data[0].results}  # type: ignore[union-attr] # completions
    assert found == {row(stage.acme, cheap, 1), row(stage.acme, dear, 2), row(other, dear, 4)}
    assert {(e.project_id, e.model, e.input_tokens) for e in models.data[0].results} == {  # type: ignore[union-attr] # completions
        (None, cheap[0].model, 1),
        (None, dear[0].model, 6),
    }


def test_filters_leave_out_other_projects_keys_and_models(stage: Stage) -> None:
    other = second_project(stage.acme)
    cheap, dear = price_since(midnight(9)), price_since(midnight(9))
    at = midnight(2) + timedelta(hours=3)
    use(stage, stage.acme, at, cheap, (1, 0))
    use(stage, stage.acme, at, dear, (2, 0))
    use(stage, other, at, dear, (4, 0))
    usage = admin(stage.api, stage.acme).admin.organization.usage

    def tokens(**filters: Any) -> int:
        page = usage.completions(start_time=seconds(midnight(2)), limit=1, **filters)
        counts: list[int] = [each.input_tokens for each in page.data[0].results]  # type: ignore[union-attr] # completions
        return sum(counts)

    assert tokens() == 7
    assert tokens(project_ids=[other.project.public_id]) == 4
    assert tokens(api_key_ids=[stage.acme.key.public_id]) == 3
    assert tokens(models=[dear[0].model]) == 6
    assert tokens(models=[dear[0].model], project_ids=[stage.acme.project.public_id]) == 2
    assert tokens(api_key_ids=[stage.acme.key.public_id, other.key.public_id]) == 7
    assert tokens(models=["nobody's"]) == 0


@pytest.mark.parametrize(("width", "step"), [("1d", DAY_S), ("1h", 3600), ("1m", 60)])
def test_pages_follow_one_another_without_gap_or_overlap(
    stage: Stage, width: Any, step: int
) -> None:
    priced = price_since(midnight(30))
    start = midnight(20)
    for number in range(10):
        at = start + timedelta(seconds=number * step)
        use(stage, stage.acme, at, priced, (2**number, 0))
    usage = admin(stage.api, stage.acme).admin.organization.usage

    seen: list[tuple[int, int]] = []
    cursor: str | openai.Omit = openai.omit
    for _ in range(4):
        page = usage.completions(
            start_time=seconds(start),
            end_time=seconds(start) + 10 * step,
            bucket_width=width,
            limit=3,
            page=cursor,
        )
        seen += [
            (bucket.start_time, each.input_tokens)  # type: ignore[union-attr] # completions
            for bucket in page.data
            for each in bucket.results
        ]
        assert page.has_more == (page.next_page is not None)
        cursor = page.next_page or openai.omit

    assert isinstance(cursor, openai.Omit)
    assert seen == [(seconds(start) + number * step, 2**number) for number in range(10)]


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


def test_a_stranger_sees_nothing_even_with_the_ids_at_hand(stage: Stage) -> None:
    stranger = make_tenant(f"Stranger {random_base62(6)}")
    use(stage, stage.acme, midnight(1), price_since(midnight(9)), (10, 10))
    usage = admin(stage.api, stranger).admin.organization.usage

    plain = usage.completions(start_time=seconds(midnight(2)))
    named = usage.completions(
        start_time=seconds(midnight(2)),
        api_key_ids=[stage.acme.key.public_id],
        group_by=["project_id"],
    )
    costs = usage.costs(start_time=seconds(midnight(2)), project_ids=[stage.acme.project.public_id])

    assert [bucket.results for page in (plain, named, costs) for bucket in page.data] == [[]] * 9


def test_a_range_within_a_bucket_takes_in_all_of_it_and_says_so(stage: Stage) -> None:
    use(stage, stage.acme, midnight(2) + timedelta(hours=1), price_since(midnight(9)), (10, 0))

    page = admin(stage.api, stage.acme).admin.organization.usage.completions(
        start_time=seconds(midnight(2)) + 3600 * 10, end_time=seconds(midnight(2)) + 3600 * 11
    )

    (bucket,) = page.data
    assert (bucket.start_time, bucket.end_time) == (seconds(midnight(2)), seconds(midnight(1)))
    assert [each.input_tokens for each in bucket.results] == [10]  # type: ignore[union-attr] # completions


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({}, "start_time"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"start_time": "1e9"}, "start_time"),
        ({"start_time": "-5"}, "start_time"),
        ({"start_time": "１２"}, "start_time"),
        ({"start_time": "9" * 30}, "start_time"),
        ({"start_time": "86400", "end_time": "86400"}, "end_time"),
        ({"start_time": "86400", "end_time": "100"}, "end_time"),
        ({"start_time": "0", "bucket_width": "1w"}, "bucket_width"),
        ({"start_time": "0", "limit": "0"}, "limit"),
        ({"start_time": "0", "limit": "32"}, "limit"),
        ({"start_time": "0", "limit": "1441", "bucket_width": "1m"}, "limit"),
        ({"start_time": "0", "page": "page_1"}, "page"),
        ({"start_time": "864000", "page": "page_0"}, "page"),
        ({"start_time": "0", "page": "86400"}, "page"),
        ({"start_time": "0", "group_by[]": "user_id"}, "group_by"),
        ({"start_time": "0", "group_by": "password"}, "group_by"),
        ({"start_time": "0", "user_ids[]": "u"}, "user_ids"),
        ({"start_time": "0", "batch": "true"}, "batch"),
        ({"start_time": "0", "models[]": "a\0b"}, "models"),
        ({"start_time": "0", "models[]": ["m"] * 201}, "models"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(
    stage: Stage, parameters: dict[str, Any], param: str
) -> None:
    answer = get(
        stage.api, "/v1/organization/usage/completions", admin_key(stage.acme), **parameters
    )

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize("path", ["usage/completions", "costs"])
def test_only_admin_keys_read_the_usage_of_the_organization(stage: Stage, path: str) -> None:
    for key, status, code in (
        (stage.acme.key_text, 403, "admin_key_required"),
        (None, 401, None),
        ("hk-admin-nonsense", 401, "invalid_api_key"),
    ):
        answer = get(stage.api, f"/v1/organization/{path}", key, start_time=0)

        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == code

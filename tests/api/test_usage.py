"""Usage through the official client: exact, complete, paged, and one's own only."""

from datetime import timedelta
from typing import Any

import openai
import pytest

from kernel.ids import random_base62
from tests.api.customer import (
    DAY_S,
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
from tests.factories import Tenant, make_tenant
from tests.stage import Stage


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
        ({"start_time": "0", "bucket_width": ""}, "bucket_width"),
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

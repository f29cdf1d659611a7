"""A key asks where it stands: limits, budgets, credit, and what one call came to."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection, transaction

from accounts.keys import KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import Organization, Project
from billing.budgets import create_budget
from billing.models import UsageEvent
from kernel.ids import new_request_id, random_base62
from kernel.money import parse_usd, render_usd
from tests.api.customer import admin_key, get
from tests.books import run_tick
from tests.calls import chat_body, post
from tests.factories import ACTOR, Tenant, hold_request, make_price, make_tenant
from tests.servers import Server, environment, free_port, running
from tests.stage import House, Stage

PATHS = ("/v1/key", "/v1/credits", "/v1/generation?id=req_" + "0" * 24)


def budget(tenant: Tenant, usd: str, period: str, **level: Any) -> None:
    create_budget(org=tenant.org, limit_nanos=parse_usd(usd), period=period, actor=ACTOR, **level)


def hold(stage: Stage, nanos: int) -> str:
    version, _ = make_price(f"m-{random_base62(8)}")
    request = hold_request(stage.acme, version, nanos)
    answer = run_tick(stage.stores.database_url, holds=[request])
    assert answer.held == {request.request_id: None}
    return request.request_id


def settled_call(stage: Stage) -> tuple[Any, UsageEvent]:
    """One call through the gateway, and its usage row."""
    answer = post(stage.api.url, stage.acme.key_text, chat_body("mock"))
    assert answer.status_code == 200
    deadline = time.monotonic() + 5
    request_id = answer.headers["x-request-id"]
    while time.monotonic() < deadline:
        event = UsageEvent.objects.filter(request_id=request_id).first()
        if event is not None:
            return answer.json(), event
        time.sleep(0.02)
    raise AssertionError("the call did not settle")


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


@pytest.mark.parametrize("form", ["answer", "request"])
def test_a_call_is_found_by_its_answers_id_and_its_requests_id(stage: Stage, form: str) -> None:
    answer, event = settled_call(stage)
    wanted = answer["id"] if form == "answer" else event.request_id

    body = get(stage.api, "/v1/generation", stage.acme.key_text, id=wanted).json()

    assert (body["id"], body["request_id"]) == (answer["id"], event.request_id)
    assert (body["model"], body["provider"], body["state"]) == ("mock", event.provider, "settled")
    assert (body["outcome"], body["evidence"]) == (event.outcome, event.evidence)
    assert body["usage"]["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert body["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert body["usage"]["total_tokens"] == answer["usage"]["total_tokens"]
    assert body["usage"]["buckets"]["request"] == 1
    assert body["cost"] == render_usd(event.amount_nanos)
    assert body["project_id"] == stage.acme.project.public_id
    assert body["api_key_id"] == stage.acme.key.public_id
    assert body["created_at"] == int(event.occurred_at.timestamp())


def test_a_call_that_still_runs_has_no_cost_yet(stage: Stage) -> None:
    request_id = hold(stage, 1_000)

    body = get(stage.api, "/v1/generation", stage.acme.key_text, id=request_id).json()

    assert (body["state"], body["cost"], body["usage"]) == ("held", None, None)


def test_other_tenants_and_other_projects_calls_do_not_exist(stage: Stage) -> None:
    stranger = make_tenant(f"Stranger {random_base62(6)}")
    other = Project.objects.create(org=stage.acme.org, name="Other")
    neighbour = mint_key(other, KeySpec(name="n"), actor=ACTOR)
    _, event = settled_call(stage)
    running_call = hold(stage, 1_000)

    def status(key: str, request_id: str) -> int:
        return get(stage.api, "/v1/generation", key, id=request_id).status_code

    for request_id in (event.request_id, running_call):
        assert status(stranger.key_text, request_id) == 404
        assert status(admin_key(stranger), request_id) == 404
        assert status(neighbour.text, request_id) == 404
        assert status(admin_key(stage.acme), request_id) == 200
    unknown = get(stage.api, "/v1/generation", stage.acme.key_text, id=new_request_id())
    theirs = get(stage.api, "/v1/generation", stranger.key_text, id=event.request_id)
    assert unknown.json()["error"]["code"] == theirs.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("wanted", "status"), [("", 400), ("req_", 404), ("req_a\0b", 404), ("' or 1=1 --", 404)]
)
def test_an_id_that_is_none_is_refused(stage: Stage, wanted: str, status: int) -> None:
    answer = get(stage.api, "/v1/generation", stage.acme.key_text, id=wanted)

    assert answer.status_code == status
    assert answer.json()["error"]["param"] == "id"


@pytest.mark.parametrize("path", PATHS)
def test_a_key_that_is_no_longer_good_reads_nothing(stage: Stage, path: str) -> None:
    def refusal(key: str) -> tuple[int, str]:
        answer = get(stage.api, path, key)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        return answer.status_code, answer.json()["error"]["code"]

    revoked = mint_key(stage.acme.project, KeySpec(name="r"), actor=ACTOR)
    revoke_key(revoked.key, actor=ACTOR)
    wrong = stage.acme.key_text[:-7] + "0" * 7
    assert refusal(revoked.text) == refusal(wrong) == refusal("sk-x") == (401, "invalid_api_key")
    assert get(stage.api, path, None).json()["error"]["code"] is None
    Organization.objects.filter(pk=stage.acme.org.pk).update(status="suspended")
    assert refusal(stage.acme.key_text) == (403, "account_suspended")


def test_a_rotated_key_reads_until_its_overlap_ends(stage: Stage) -> None:
    old = stage.acme.key_text
    new = rotate_key(stage.acme.key, actor=ACTOR).text

    assert get(stage.api, "/v1/key", old).status_code == 200
    assert get(stage.api, "/v1/key", new).status_code == 200
    rotate_key(stage.acme.key, actor=ACTOR, overlap=timedelta(0))
    assert get(stage.api, "/v1/key", old).status_code == 401
    assert get(stage.api, "/v1/key", new).status_code == 401


def test_other_methods_are_405_before_the_key_is_asked_and_need_no_body_read(
    stage: Stage,
) -> None:
    answer = requests.post(stage.api.url + "/v1/key", data=b"x" * 5_000_000, timeout=10)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_every_answer_has_an_id_and_no_cookie_whatever_is_accepted(stage: Stage) -> None:
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {stage.acme.key_text}"
        for prefix in ("/v1", "/api/v1", "/api"):
            for path in ("/key", "/key/", "/credits", "/generation", "/organization/costs"):
                answer = session.get(
                    stage.api.url + prefix + path, headers={"accept": "text/html"}, timeout=10
                )

                assert answer.headers["content-type"] == "application/json"
                assert answer.headers["x-request-id"].startswith("req_")
                assert answer.headers["request-id"] == answer.headers["x-request-id"]
                assert "set-cookie" not in answer.headers
    assert get(stage.api, "/v1/keys", stage.acme.key_text).json()["error"]["code"] == "unknown_url"


def test_many_at_once_are_answered_and_leave_no_connection_behind(stage: Stage) -> None:
    def ask(_: int) -> int:
        return get(stage.api, "/v1/key", stage.acme.key_text).status_code

    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(ask, range(200)))

    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 100
    assert ask(0) == 200


def test_a_database_that_does_not_answer_in_time_is_503_and_nothing_of_it_is_said(
    stage: Stage,
) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("lock table billing_budget in access exclusive mode")

        answer = get(stage.api, "/v1/key", stage.acme.key_text)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "server_is_overloaded"
    assert "statement" not in answer.text
    assert get(stage.api, "/v1/key", stage.acme.key_text).status_code == 200


@pytest.fixture(scope="module")
def whole(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both planes in one process, as on a small machine."""
    folder, port = tmp_path_factory.mktemp("whole"), free_port()
    env = environment(
        DATABASE_URL=house.stores.database_url,
        REDIS_URL=house.stores.redis_url,
        DATA_DIR=str(folder),
        SERVE="all",
    )
    command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(port)]
    with running(command, port, env, Path(folder), ready="/readyz") as server:
        yield server


def test_one_process_for_everything_serves_the_same_paths_without_cookies(
    whole: Server, stage: Stage
) -> None:
    key = get(whole, "/v1/key", stage.acme.key_text)
    costs = get(whole, "/v1/organization/costs", admin_key(stage.acme), start_time=0, limit=1)

    assert (key.status_code, key.json()["id"]) == (200, stage.acme.key.public_id)
    assert (costs.status_code, costs.json()["has_more"]) == (200, True)
    assert "set-cookie" not in key.headers
    assert get(whole, "/accounts/login/", None).status_code == 200

"""The door of the customers' API: keys, methods, ids, bounds, and the role that has it."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.db import connection, transaction

from accounts.keys import KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import Organization
from tests.api.customer import admin_key, get
from tests.factories import ACTOR
from tests.servers import Server, environment, free_port, running
from tests.stage import House, Stage

PATHS = ("/v1/key", "/v1/credits", "/v1/generation?id=req_" + "0" * 24)


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

    before = open_connections()
    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(ask, range(200)))

    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 100
    assert ask(0) == 200
    deadline = time.monotonic() + 5
    while open_connections() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_connections() == before


def open_connections() -> int:
    """Count what is open to this file's database by clients."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and backend_type = 'client backend'"
        )
        count: int = cursor.fetchone()[0]
    return count


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
    command = [sys.executable, "-m", "config.server", "--port", str(port)]
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


def test_a_query_of_more_fields_than_are_read_is_refused_and_not_our_fault(stage: Stage) -> None:
    query = "&".join(["models=m"] * 1_001)

    answer = get(stage.api, f"/v1/organization/costs?start_time=0&{query}", admin_key(stage.acme))

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


def test_a_nul_is_refused_by_its_field_and_nothing_moves(stage: Stage) -> None:
    key = admin_key(stage.acme)
    listed = get(stage.api, "/v1/organization/topups?after=%00", key)
    made = requests.post(
        stage.api.url + "/v1/organization/webhooks",
        json={"url": "https://hooks.example.com/a", "description": "a\0b"},
        headers={"authorization": f"Bearer {key}"},
        timeout=10,
    )

    refusals = [(a.status_code, a.json()["error"]["param"]) for a in (listed, made)]
    assert refusals == [(400, "after"), (400, "description")]
    assert get(stage.api, "/v1/organization/webhooks", key).json()["data"] == []

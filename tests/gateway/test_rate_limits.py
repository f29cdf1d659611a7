"""Rate limits on every level, through live api processes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key
from accounts.models import Project
from accounts.rate_limits import limit_key, limit_org, limit_project
from billing.models import Hold
from gateway.offers import limit_model
from tests.calls import RawStream, chat_body, post, wait_for
from tests.factories import Tenant, make_tenant
from tests.servers import Server, running_api
from tests.stage import PATIENT, Stage


def another_key(project: Project) -> str:
    return mint_key(project, KeySpec(), actor="test").text


def call(stage: Stage, key: str, **fields: Any) -> requests.Response:
    return post(stage.api.url, key, chat_body("hacxgpt", max_tokens=5, **fields))


def message(answer: requests.Response) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert "budget" not in error["message"].lower()
    return str(error["message"])


def remaining(answer: requests.Response, unit: str) -> tuple[str, str]:
    return (
        answer.headers[f"x-ratelimit-limit-{unit}"],
        answer.headers[f"x-ratelimit-remaining-{unit}"],
    )


def test_the_project_limits_all_its_keys_together_and_no_other_project(stage: Stage) -> None:
    acme = stage.acme
    limit_project(acme.project, {"rpm": 2}, actor="test")
    other = Project.objects.create(org=acme.org, name="Other")

    passed = [call(stage, acme.key_text), call(stage, another_key(acme.project))]
    refused = call(stage, another_key(acme.project))

    assert [remaining(answer, "requests") for answer in passed] == [("2", "1"), ("2", "0")]
    assert message(refused).startswith("Rate limit reached for requests per minute of this project")
    assert "this project: 2." in message(refused)
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert int(refused.headers["retry-after-ms"]) == 1000 * int(refused.headers["retry-after"])
    assert remaining(refused, "requests") == ("2", "0")
    assert call(stage, another_key(other)).status_code == 200


def test_the_organization_limits_all_its_projects_together_and_nobody_else(stage: Stage) -> None:
    acme, mallory = stage.acme, make_tenant("Mallory's")
    limit_org(acme.org, {"rpd": 2}, actor="test")
    other = Project.objects.create(org=acme.org, name="Other")

    passed = [call(stage, acme.key_text), call(stage, another_key(other))]
    refused = call(stage, another_key(other))

    assert [answer.status_code for answer in passed] == [200, 200]
    assert "requests per day of this organization: 2." in message(refused)
    assert refused.headers["retry-after"] == "60"
    assert call(stage, mallory.key_text).status_code == 200


@pytest.fixture
def limited_model(stage: Stage) -> Any:
    limit_model("mock", {"rpm": 2}, actor="test")
    bystander = make_tenant("Bystander")
    wait_for(
        lambda: (
            remaining(post(stage.api.url, bystander.key_text, chat_body()), "requests")[0] == "2"
        ),
        seconds=10,
    )
    yield
    limit_model("mock", {"rpm": None}, actor="test")


@pytest.mark.usefixtures("limited_model")
def test_a_model_limits_each_organization_by_itself(stage: Stage) -> None:
    acme, bob = stage.acme, make_tenant("Bob's")

    statuses = [post(stage.api.url, acme.key_text, chat_body()).status_code for _ in range(2)]
    refused = post(stage.api.url, another_key(acme.project), chat_body())

    assert statuses == [200, 200]
    assert "requests per minute of this organization on this model: 2." in message(refused)
    assert call(stage, acme.key_text).status_code == 200  # another model
    assert post(stage.api.url, bob.key_text, chat_body()).status_code == 200


def test_tokens_a_minute_of_the_organization_are_corrected_at_the_end(stage: Stage) -> None:
    limit_org(stage.acme.org, {"tpm": 1_000}, actor="test")
    large = chat_body("hacxgpt", max_tokens=900)

    answers = [post(stage.api.url, stage.acme.key_text, large) for _ in range(2)]
    too_large = post(stage.api.url, stage.acme.key_text, chat_body("hacxgpt", max_tokens=2_000))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert remaining(answers[0], "tokens")[0] == "1000"
    assert "larger than a limit: tokens per minute of this organization: 1000, requested" in (
        message(too_large)
    )
    assert too_large.headers["x-should-retry"] == "false"
    assert "retry-after" not in too_large.headers


def test_a_call_one_level_refuses_consumes_nothing_on_any_other(stage: Stage) -> None:
    acme = stage.acme
    limit_key(acme.key, {"rpm": 9}, actor="test")
    limit_project(acme.project, {"rpm": 5, "concurrency": 1}, actor="test")
    limit_org(acme.org, {"tpm": 500}, actor="test")
    large = chat_body("hacxgpt", max_tokens=600)

    refused = [post(stage.api.url, acme.key_text, large).status_code for _ in range(8)]
    passed = call(stage, acme.key_text)

    assert refused == [429] * 8
    assert (passed.status_code, remaining(passed, "requests")) == (200, ("5", "4"))
    assert Hold.objects.filter(org_id=acme.org.pk).count() == 1


def test_a_change_of_limits_is_seen_by_running_processes(stage: Stage) -> None:
    acme = stage.acme
    assert remaining(call(stage, acme.key_text), "requests")[0] == "10000"

    limit_org(acme.org, {"rpm": 900}, actor="test")
    wait_until_limited(stage, "900")
    limit_project(acme.project, {"rpm": 800}, actor="test")
    wait_until_limited(stage, "800")
    limit_key(acme.key, {"rpm": 700}, actor="test")
    wait_until_limited(stage, "700")


def wait_until_limited(stage: Stage, limit: str) -> None:
    """Within a second, and a busy machine; memory alone would last ten."""
    wait_for(lambda: remaining(call(stage, stage.acme.key_text), "requests")[0] == limit, seconds=5)


def second_process(stage: Stage, folder: Path) -> Any:
    stores, patience = stage.stores, PATIENT["LIMITS_WAIT_MS"]
    return running_api(stores.database_url, stores.redis_url, folder, LIMITS_WAIT_MS=patience)


def test_two_processes_together_let_exactly_the_limit_through(stage: Stage, tmp_path: Path) -> None:
    limit_org(stage.acme.org, {"rpd": 20}, actor="test")

    with second_process(stage, tmp_path) as other, ThreadPoolExecutor(8) as pool:
        servers: list[Server] = [stage.api, other] * 20
        statuses = list(
            pool.map(
                lambda server: (
                    post(
                        server.url, stage.acme.key_text, chat_body("hacxgpt", max_tokens=1)
                    ).status_code
                ),
                servers,
            )
        )

    assert (statuses.count(200), statuses.count(429)) == (20, 20)


def slow_stream(server: Server, acme: Tenant) -> RawStream:
    stream = RawStream(
        server.port, acme.key_text, chat_body(stream=True, mock={"chunks": 4000, "delay_ms": 20})
    )
    stream.read_words(1)
    return stream


def test_the_slots_of_a_killed_process_are_free_again(stage: Stage, tmp_path: Path) -> None:
    acme = stage.acme
    limit_org(acme.org, {"concurrency": 1}, actor="test")

    with second_process(stage, tmp_path) as doomed:
        stream = slow_stream(doomed, acme)
        refused = call(stage, acme.key_text)
        doomed.kill()
        stream.leave()

    assert "concurrent requests of this organization: 1." in message(refused)
    assert refused.headers["retry-after"] == "1"
    wait_for(lambda: call(stage, acme.key_text).status_code == 200, seconds=20)


def test_a_slot_is_free_at_once_when_its_caller_leaves(stage: Stage) -> None:
    limit_project(stage.acme.project, {"concurrency": 1}, actor="test")
    stream = slow_stream(stage.api, stage.acme)
    assert call(stage, stage.acme.key_text).status_code == 429

    stream.leave()

    wait_for(lambda: call(stage, stage.acme.key_text).status_code == 200, seconds=5)

"""What one call came to, for those who may know it."""

import pytest

from accounts.keys import KeySpec, mint_key
from accounts.models import Project
from kernel.ids import new_request_id, random_base62
from kernel.money import render_usd
from tests.api.customer import admin_key, get, hold, settled_call
from tests.factories import ACTOR, make_tenant
from tests.stage import Stage


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
    ("wanted", "status"), [("", 400), ("req_", 404), ("req_a\0b", 400), ("' or 1=1 --", 404)]
)
def test_an_id_that_is_none_is_refused(stage: Stage, wanted: str, status: int) -> None:
    answer = get(stage.api, "/v1/generation", stage.acme.key_text, id=wanted)

    assert answer.status_code == status
    assert answer.json()["error"]["param"] == "id"

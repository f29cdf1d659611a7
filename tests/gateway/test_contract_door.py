"""The wire contract at the door: bodies, keys, headers, ids and the order of checks, on live paths.

Every metered path is asked the same; what each dialect says of a field has tests of its own.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key
from billing.budgets import create_budget
from billing.models import Hold, UsageEvent
from tests.calls import HELLO, post
from tests.factories import make_tenant
from tests.stage import Stage


@dataclass(frozen=True)
class Door:
    """A metered path and a body that it answers."""

    path: str
    body: dict[str, Any]

    @property
    def is_anthropics(self) -> bool:
        return self.path.startswith("/anthropic/")


CHAT = Door("/v1/chat/completions", {"model": "hacxgpt", "messages": HELLO})
RESPONSES = Door("/v1/responses", {"model": "hacxgpt", "input": "Hello"})
EMBEDDINGS = Door("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"})
MESSAGES = Door("/anthropic/v1/messages", {**CHAT.body, "max_tokens": 64})
DOORS = [pytest.param(door, id=door.path) for door in (CHAT, RESPONSES, EMBEDDINGS, MESSAGES)]


def ask(stage: Stage, door: Door, body: Any = None, **headers: str) -> requests.Response:
    sent = door.body if body is None else body
    return post(stage.api.url, stage.acme.key_text, sent, path=door.path, **headers)


def said(answer: requests.Response) -> tuple[int, str]:
    """Return the status and the type of a refusal, which is JSON with an id of its own."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == answer.headers["request-id"]
    body = answer.json()
    if "request_id" in body:
        assert body["request_id"] == answer.headers["request-id"]
        assert body["type"] == "error"
    else:
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
    return answer.status_code, body["error"]["type"]


@pytest.mark.parametrize("door", DOORS)
def test_no_cache_on_the_way_keeps_an_answer_or_a_refusal(stage: Stage, door: Door) -> None:
    answers = [ask(stage, door), ask(stage, door, {}), ask(stage, door, b"no json")]

    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize("path", ["/v1/models", "/anthropic/v1/models", "/v1/key", "/v1/nothing"])
def test_no_cache_on_the_way_keeps_a_list(stage: Stage, path: str) -> None:
    key = {"authorization": f"Bearer {stage.acme.key_text}"}

    for headers in (key, {}):
        answer = requests.get(stage.api.url + path, headers=headers, timeout=10)
        assert answer.headers["cache-control"] == "no-store"


def assert_nothing_moved(stage: Stage) -> None:
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/html"},
        {"accept": "text/event-stream"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=utf-16"},
        {"cookie": "sessionid=x; csrftoken=y", "origin": "https://elsewhere.example"},
        {"x-stainless-lang": "python", "openai-organization": "org-x"},
        {"anthropic-version": "2023-06-01", "anthropic-beta": "tools-2024-04-04"},
        {"anthropic-version": "2026-10-21"},
        {"anthropic-version": "yesterday"},
    ],
)
def test_no_other_header_changes_an_answer(
    stage: Stage, door: Door, headers: dict[str, str]
) -> None:
    answer = ask(stage, door, **headers)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_json_object_is_refused_whatever_it_calls_itself(
    stage: Stage, door: Door
) -> None:
    form = requests.post(
        stage.api.url + door.path,
        files={"file": ("a.json", json.dumps(door.body))},
        headers={"x-api-key": stage.acme.key_text},
        timeout=10,
    )
    bodies = [b"", b"null", b"[]", b"7", b'"x"', b"{", b"{} {}", b"\xff\xfe{}", b'{"a":NaN}']

    refused = [form, *(ask(stage, door, body) for body in bodies)]

    assert {said(answer) for answer in refused} == {(400, "invalid_request_error")}
    assert_nothing_moved(stage)


@pytest.mark.parametrize("door", DOORS)
def test_every_answer_has_a_fresh_id_which_is_never_the_callers(stage: Stage, door: Door) -> None:
    answers = [
        ask(stage, door, **{"x-client-request-id": "mine", "x-request-id": "req_mine"}),
        ask(stage, door, **{"x-client-request-id": "mine"}),
        ask(stage, door, b"{"),
        requests.post(stage.api.url + door.path, timeout=10),
        requests.get(stage.api.url + door.path, timeout=10),
    ]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert ids == [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(each.startswith("req_") and len(each) >= 24 for each in ids)


@pytest.mark.parametrize("door", DOORS)
def test_a_key_counts_in_either_header_in_any_case_and_never_in_the_query(
    stage: Stage, door: Door
) -> None:
    def status(query: str = "", **headers: str) -> int:
        url = f"{stage.api.url}{door.path}{query}"
        answer = requests.post(url, json=door.body, headers=headers, timeout=10)
        return answer.status_code

    key = stage.acme.key_text
    wrong = "hk-proj-wrong"
    assert status(**{"x-api-key": key}) == 200
    assert status(authorization=f"Bearer {key}") == 200
    assert status(authorization=f"bEARER {key}") == 200
    assert status(authorization=f"Basic {key}") == 401
    assert status(f"?api_key={key}&key={key}") == 401
    for_bearer = status(**{"authorization": f"Bearer {key}", "x-api-key": wrong})
    for_plain = status(**{"authorization": f"Bearer {wrong}", "x-api-key": key})
    assert (for_bearer, for_plain) == ((401, 200) if door.is_anthropics else (200, 401))


@pytest.mark.parametrize("door", DOORS)
def test_the_first_fault_is_said_in_the_order_of_checks(stage: Stage, door: Door) -> None:
    poor = make_tenant("Poor", credit_usd="0.000000001")
    narrow = mint_key(poor.project, KeySpec(allowed_models=["gpt-4o"]), actor="test").text
    unknown = {**door.body, "model": "nope"}
    wrong: dict[str, Any] = {
        **door.body,
        "user": 5,
        "metadata": 5,
        "stream": door is not EMBEDDINGS,
    }

    def status(key: str, body: Any) -> int:
        return post(stage.api.url, key, body, path=door.path).status_code

    assert status("hk-proj-wrong", b"{") == 401
    assert status(poor.key_text, b"{") == 400
    assert status(poor.key_text, unknown) == 404
    assert status(narrow, unknown) == 404
    assert status(narrow, wrong) == 403
    assert status(poor.key_text, wrong) == 400
    assert status(poor.key_text, door.body) == 402
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()
    assert poor.account.held_nanos == 0


def test_a_used_up_budget_is_said_before_missing_credit(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.000000001")
    create_budget(org=poor.org, limit_nanos=1, period="day", actor="test")

    for door in (CHAT, RESPONSES, EMBEDDINGS, MESSAGES):
        answer = post(stage.api.url, poor.key_text, door.body, path=door.path)

        assert answer.status_code == 429
        assert "budget" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
        if door.is_anthropics:
            assert answer.json()["error"]["details"] == {
                "error_code": "enforced_spend_limit_reached"
            }
        else:
            assert answer.json()["error"]["code"] == "organization_spend_limit_exceeded"


@pytest.mark.parametrize("door", [door for door in DOORS if "embeddings" not in str(door.id)])
def test_a_stream_that_is_refused_is_plain_json_with_its_own_status(
    stage: Stage, door: Door
) -> None:
    poor = make_tenant("Poor", credit_usd="0.000000001")

    answer = post(stage.api.url, poor.key_text, {**door.body, "stream": True}, path=door.path)

    kind = "billing_error" if door.is_anthropics else "insufficient_quota"
    assert said(answer) == (402, kind)
    assert "credit" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_one_keys_limits_are_shared_by_all_paths_and_shown_on_every_answer(stage: Stage) -> None:
    key = mint_key(stage.acme.project, KeySpec(rpm=6), actor="test").text

    answers = [
        post(stage.api.url, key, body, path=path)
        for path, body in (
            ("/v1/chat/completions", CHAT.body),
            ("/api/chat/completions", b"{"),
            ("/api/v1/responses", RESPONSES.body),
            ("/v1/embeddings", {**EMBEDDINGS.body, "input": ""}),
            (MESSAGES.path, MESSAGES.body),
            ("/anthropic/v1/messages/count_tokens", CHAT.body),
            (MESSAGES.path, MESSAGES.body),
        )
    ]

    assert [answer.status_code for answer in answers] == [200, 400, 200, 400, 200, 200, 429]
    left = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert left == ["5", "4", "3", "2", "1", "0", "0"]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "6"
        assert answer.headers["x-ratelimit-reset-requests"]
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for name in ("limit", "remaining", "reset"):
            assert f"anthropic-ratelimit-{kind}-{name}" in answers[4].headers
    refused = answers[-1]
    assert said(refused) == (429, "rate_limit_error")
    assert "budget" not in refused.json()["error"]["message"].lower()
    assert int(refused.headers["retry-after-ms"]) == 1000 * int(refused.headers["retry-after"])
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_lists_cost_nothing_and_need_a_key_but_no_credit(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0")
    paths = ("/v1/models", "/api/models/", "/api/v1/models/hacxgpt", "/anthropic/v1/models")

    def status(path: str, **headers: str) -> int:
        return requests.get(stage.api.url + path, headers=headers, timeout=10).status_code

    assert [status(path, **{"x-api-key": poor.key_text}) for path in paths] == [200] * 4
    assert [status(path) for path in paths] == [401] * 4


@pytest.mark.parametrize("door", DOORS)
def test_an_early_refusal_does_not_confuse_the_connection(stage: Stage, door: Door) -> None:
    body = json.dumps({**door.body, "padding": "x" * 300_000})
    faults = [
        ("PUT", door.path, {"x-api-key": stage.acme.key_text}),
        ("POST", door.path, {"x-api-key": "hk-proj-wrong"}),
        ("POST", door.path + "/nothing", {"x-api-key": stage.acme.key_text}),
        ("POST", "/v1/models", {"x-api-key": stage.acme.key_text}),
        ("POST", door.path, {"x-api-key": stage.acme.key_text, "content-encoding": "gzip"}),
    ]
    connection = http.client.HTTPConnection("127.0.0.1", stage.api.port, timeout=20)
    statuses = []
    for method, path, headers in faults:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
        connection.request("POST", door.path, body, {"x-api-key": stage.acme.key_text})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (method, path)
    connection.close()

    assert statuses == [405, 401, 404, 405, 415]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("PATCH", "/api/v1/responses", 405, "POST"),
        ("DELETE", "/v1/embeddings", 405, "POST"),
        ("POST", "/api/models", 405, "GET"),
        ("PUT", "/anthropic/v1/messages", 405, "POST"),
        ("GET", "/anthropic/v1/messages/count_tokens", 405, "POST"),
        ("POST", "/anthropic/v1/models/hacxgpt", 405, "GET"),
        ("POST", "/v1/openapi.json", 405, "GET"),
        ("POST", "/v1/completions", 404, None),
        ("GET", "/anthropic/v1/nothing", 404, None),
    ],
)
def test_paths_and_methods_are_refused_in_the_dialect_of_their_prefix(
    stage: Stage, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = requests.request(method, stage.api.url + path, timeout=10, allow_redirects=False)

    is_anthropics = path.startswith("/anthropic")
    kind = "not_found_error" if is_anthropics and status == 404 else "invalid_request_error"
    assert said(answer) == (status, kind)
    assert answer.headers.get("allow") == allow
    assert ("request_id" in answer.json()) is is_anthropics


@pytest.mark.parametrize("path", ["", "/"])
@pytest.mark.parametrize("door", DOORS)
def test_a_slash_at_the_end_and_a_query_change_nothing(stage: Stage, door: Door, path: str) -> None:
    answer = requests.post(
        f"{stage.api.url}{door.path}{path}?beta=true&x=1",
        json=door.body,
        headers={"x-api-key": stage.acme.key_text},
        allow_redirects=False,
        timeout=10,
    )

    assert answer.status_code == 200

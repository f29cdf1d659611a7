"""What is refused before the first byte: exact bodies, exact headers, and nothing moves."""

from datetime import timedelta
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import ApiKey
from billing.budgets import create_budget
from billing.models import Hold
from gateway.offers import create_model
from kernel import clock
from tests.calls import chat_body, post, wait_for
from tests.factories import make_tenant
from tests.stage import Stage


def error_of(answer: requests.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-request-id"] == answer.headers["request-id"]
    return dict(body["error"])


def mint(stage: Stage, **limits: Any) -> str:
    return mint_key(stage.acme.project, KeySpec(**limits), actor="test").text


def test_no_key_is_401_without_a_code_and_a_bad_one_is_401_with_one(stage: Stage) -> None:
    without = requests.post(stage.api.url + "/v1/chat/completions", json={}, timeout=10)
    bad = post(stage.api.url, stage.acme.key_text[:-1] + "0", b"not even json")

    assert (without.status_code, error_of(without)["code"]) == (401, None)
    error = error_of(bad)
    assert (bad.status_code, error["type"], error["code"]) == (
        401,
        "invalid_request_error",
        "invalid_api_key",
    )
    assert stage.acme.key_text[8:40] not in bad.text


def test_x_api_key_works_and_authorization_wins_where_both_differ(stage: Stage) -> None:
    body = chat_body("hacxgpt")
    plain = requests.post(
        stage.api.url + "/v1/chat/completions",
        json=body,
        headers={"x-api-key": stage.acme.key_text},
        timeout=10,
    )
    both = post(stage.api.url, stage.acme.key_text, body, **{"x-api-key": "hk-proj-wrong"})

    assert (plain.status_code, both.status_code) == (200, 200)


def test_a_revoked_key_stops_within_a_second(stage: Stage) -> None:
    key = mint_key(stage.acme.project, KeySpec(), actor="test")
    assert post(stage.api.url, key.text, chat_body("hacxgpt")).status_code == 200

    revoke_key(key.key, actor="test")

    answer = wait_for(
        lambda: [
            refused
            for refused in [post(stage.api.url, key.text, chat_body("hacxgpt"))]
            if refused.status_code == 401
        ],
        seconds=1,
    )[0]
    assert error_of(answer)["code"] == "invalid_api_key"


def test_an_expired_key_is_refused(stage: Stage) -> None:
    text = mint(stage, expires_at=clock.now() - timedelta(seconds=1))

    assert post(stage.api.url, text, chat_body("hacxgpt")).status_code == 401


def test_after_a_rotation_both_secrets_work_for_the_overlap(stage: Stage) -> None:
    old = mint_key(stage.acme.project, KeySpec(), actor="test")
    new = rotate_key(old.key, actor="test")
    short = rotate_key(
        mint_key(stage.acme.project, KeySpec(), actor="test").key,
        actor="test",
        overlap=timedelta(0),
    )

    assert post(stage.api.url, old.text, chat_body("hacxgpt")).status_code == 200
    assert post(stage.api.url, new.text, chat_body("hacxgpt")).status_code == 200
    assert post(stage.api.url, short.text, chat_body("hacxgpt")).status_code == 200


def test_an_admin_key_never_calls_a_model(stage: Stage) -> None:
    text = mint(stage, kind=ApiKey.Kind.ADMIN)

    assert text.startswith("hk-admin-")
    assert post(stage.api.url, text, chat_body("hacxgpt")).status_code == 403


def test_a_suspended_organization_is_refused(stage: Stage) -> None:
    stage.acme.org.status = "suspended"
    stage.acme.org.save()

    answer = post(stage.api.url, stage.acme.key_text, chat_body("hacxgpt"))

    assert (answer.status_code, error_of(answer)["code"]) == (403, "account_suspended")


def test_a_key_calls_only_the_models_it_may(stage: Stage) -> None:
    text = mint(stage, allowed_models=["gpt-4o"])

    refused = post(stage.api.url, text, chat_body("hacxgpt"))
    listed = requests.get(
        stage.api.url + "/v1/models", headers={"authorization": f"Bearer {text}"}, timeout=10
    )

    assert (refused.status_code, error_of(refused)["code"]) == (403, "model_not_allowed")
    assert [model["id"] for model in listed.json()["data"]] == ["gpt-4o"]
    assert post(stage.api.url, text, chat_body("gpt-4o")).status_code == 200


def test_a_model_without_a_price_cannot_be_called_and_is_not_listed(stage: Stage) -> None:
    name = f"unpriced-{stage.acme.org.pk}"
    create_model(name, provider="simulator", upstream_model="x", price=None, actor="test")

    answer = wait_for(
        lambda: [
            refused
            for refused in [post(stage.api.url, stage.acme.key_text, chat_body(name))]
            if refused.status_code == 403
        ]
    )[0]

    assert "no price" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("body", "status", "message", "code", "param"),
    [
        ({}, 400, "You must specify a model to call", "missing_required_parameter", "model"),
        (
            {"model": "", "messages": []},
            400,
            "You must specify a model to call",
            "missing_required_parameter",
            "model",
        ),
        (
            {"model": "hacxgpt", "messages": []},
            400,
            "Messages array cannot be empty",
            "empty_array",
            "messages",
        ),
        (
            {"model": "nope", "messages": [{"role": "user", "content": "x"}]},
            404,
            "Model not found: nope",
            "model_not_found",
            "model",
        ),
    ],
)
def test_the_seeds_error_texts_are_exact(
    stage: Stage, body: Any, status: int, message: str, code: str, param: str
) -> None:
    answer = post(stage.api.url, stage.acme.key_text, body)

    error = error_of(answer)
    assert answer.status_code == status
    assert (error["message"], error["code"], error["param"]) == (message, code, param)


def test_no_credit_is_402_and_says_what_is_needed_and_nothing_moves(stage: Stage) -> None:
    poor = make_tenant("Poor", credit_usd="0.000001")

    answer = post(stage.api.url, poor.key_text, chat_body("hacxgpt", stream=True))

    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"]) == (
        402,
        "insufficient_quota",
        "credit_balance_exhausted",
    )
    assert "credit" in error["message"]
    assert "$0.000001 is available" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()
    assert poor.account.held_nanos == 0


def test_a_used_up_budget_is_429_with_the_word_budget_and_no_retry(stage: Stage) -> None:
    key = mint_key(stage.acme.project, KeySpec(), actor="test")
    create_budget(org=stage.acme.org, key=key.key, limit_nanos=1_000, period="day", actor="test")

    answer = post(stage.api.url, key.text, chat_body("hacxgpt"))

    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"]) == (
        429,
        "insufficient_quota",
        "project_spend_limit_exceeded",
    )
    assert "budget" in error["message"]
    assert "this key" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


def test_beyond_the_requests_per_minute_it_is_429_with_when_to_come_back(stage: Stage) -> None:
    text = mint(stage, rpm=3)

    answers = [post(stage.api.url, text, chat_body("hacxgpt")) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    error = error_of(answers[3])
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "budget" not in error["message"].lower()
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert "x-should-retry" not in answers[3].headers


def test_a_malformed_request_counts_as_a_request_and_comes_after_the_limit(stage: Stage) -> None:
    text = mint(stage, rpm=1)

    first, second = post(stage.api.url, text, b"{"), post(stage.api.url, text, b"{")

    assert (first.status_code, second.status_code) == (400, 429)


def test_beyond_the_tokens_per_minute_it_is_429_and_unused_tokens_come_back(stage: Stage) -> None:
    text = mint(stage, tpm=2_000)

    answers = [post(stage.api.url, text, chat_body("hacxgpt", max_tokens=1_500)) for _ in range(2)]
    too_large = post(stage.api.url, text, chat_body("hacxgpt", max_tokens=3_000))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (too_large.status_code, error_of(too_large)["code"]) == (429, "rate_limit_exceeded")
    assert "tokens per minute" in error_of(too_large)["message"]


def test_beyond_the_requests_at_once_it_is_429_until_one_ends(stage: Stage) -> None:
    from concurrent.futures import ThreadPoolExecutor

    text = mint(stage, concurrency=2)
    slow = chat_body("mock", mock={"chunks": 10, "delay_ms": 60})

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(
            answer.status_code
            for answer in pool.map(lambda _: post(stage.api.url, text, slow), range(4))
        )
    afterwards = post(stage.api.url, text, chat_body("hacxgpt"))

    assert statuses == [200, 200, 429, 429]
    assert afterwards.status_code == 200


def test_a_refused_call_consumes_nothing(stage: Stage) -> None:
    text = mint(stage, rpm=2, tpm=100)

    refused = post(stage.api.url, text, chat_body("hacxgpt", max_tokens=90))
    passed = post(stage.api.url, text, chat_body("hacxgpt", max_tokens=10))

    assert refused.status_code == 429
    assert passed.status_code == 200
    assert passed.headers["x-ratelimit-remaining-requests"] == "1"


@pytest.mark.parametrize("path", ["/v1/nothing", "/api/v1/x", "/"])
def test_an_unknown_path_is_404_as_json(stage: Stage, path: str) -> None:
    answer = requests.get(stage.api.url + path, timeout=10)

    assert (answer.status_code, error_of(answer)["code"]) == (404, "unknown_url")


def test_another_method_is_405_as_json_with_allow(stage: Stage) -> None:
    got = requests.get(stage.api.url + "/v1/chat/completions", timeout=10)
    deleted = requests.delete(stage.api.url + "/v1/models", timeout=10)

    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    assert (deleted.status_code, deleted.headers["allow"]) == (405, "GET")
    assert error_of(got)["type"] == "invalid_request_error"


def test_a_trailing_slash_is_served_and_never_redirected(stage: Stage) -> None:
    answer = post(
        stage.api.url, stage.acme.key_text, chat_body("hacxgpt"), path="/v1/chat/completions/"
    )

    assert answer.status_code == 200


def test_a_body_beyond_the_limit_is_413_and_an_encoded_one_415(stage: Stage) -> None:
    large = post(stage.api.url, stage.acme.key_text, b" " * (32 * 2**20 + 1))
    encoded = post(stage.api.url, stage.acme.key_text, b"x", **{"content-encoding": "gzip"})

    assert (large.status_code, error_of(large)["code"]) == (413, "request_too_large")
    assert encoded.status_code == 415


def test_a_chunked_body_is_read(stage: Stage) -> None:
    import json

    answer = requests.post(
        stage.api.url + "/v1/chat/completions",
        data=iter([json.dumps(chat_body("hacxgpt")).encode()]),
        headers={"authorization": f"Bearer {stage.acme.key_text}"},
        timeout=10,
    )

    assert answer.status_code == 200


def test_models_are_listed_and_found_by_ids_with_slashes(stage: Stage) -> None:
    name = f"team/model-{stage.acme.org.pk}"
    from billing.prices import text_price

    create_model(
        name, provider="simulator", upstream_model="x", price=text_price(1, 1), actor="test"
    )
    headers = {"authorization": f"Bearer {stage.acme.key_text}"}

    def found() -> requests.Response | None:
        answer = requests.get(
            stage.api.url + "/v1/models/" + name.replace("/", "%2F"), headers=headers, timeout=10
        )
        return answer if answer.status_code == 200 else None

    assert wait_for(found).json()["id"] == name
    listed = requests.get(stage.api.url + "/api/models", headers=headers, timeout=10).json()
    assert listed["object"] == "list"
    assert {"id", "object", "created", "owned_by"} < set(listed["data"][0])
    missing = requests.get(stage.api.url + "/v1/models/nope", headers=headers, timeout=10)
    assert (missing.status_code, error_of(missing)["code"]) == (404, "model_not_found")

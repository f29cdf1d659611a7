"""The Messages API's refusals, keys, headers and repetitions, on both servers."""

import json
from typing import Any

import anthropic
import pytest
import requests

from accounts.keys import KeySpec
from billing.models import UsageEvent
from kernel.ids import random_base62
from tests.calls import post, wait_for
from tests.compat.anthropic_client import STORY, client
from tests.factories import make_tenant
from tests.stage import Stage

MESSAGES = "/anthropic/v1/messages"


def error_of(stage: Stage, kind: type[anthropic.APIStatusError], **fields: Any) -> Any:
    key = fields.pop("key", None)
    ask: Any = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY, **fields}
    with pytest.raises(kind) as caught:
        client(stage, key).messages.create(**ask)
    error = caught.value
    body: Any = error.body
    assert body["request_id"] == error.request_id
    assert body["request_id"].startswith("req_")
    return error


def test_errors_arrive_as_the_sdks_own(stage: Stage) -> None:
    wrong = error_of(stage, anthropic.AuthenticationError, key="hk-proj-wrong")
    assert wrong.body["error"]["type"] == "authentication_error"
    unknown = error_of(stage, anthropic.NotFoundError, model="no-such-model")
    assert "no-such-model" in unknown.body["error"]["message"]
    empty = error_of(stage, anthropic.BadRequestError, messages=[])
    assert empty.body["error"]["message"] == "messages: at least one message is required"
    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 0


def test_no_credit_is_402_and_a_rate_limit_429(stage: Stage) -> None:
    poor = make_tenant(f"Poor {random_base62(6)}", credit_usd="0")
    hasty = make_tenant(f"Hasty {random_base62(6)}", spec=KeySpec(name="hasty", rpm=1))

    broke = error_of(stage, anthropic.APIStatusError, key=poor.key_text)
    assert broke.status_code == 402
    assert broke.body["error"]["type"] == "billing_error"
    assert "credit" in broke.body["error"]["message"]
    assert broke.response.headers["x-should-retry"] == "false"
    client(stage, hasty.key_text).messages.create(model="hacxgpt", max_tokens=10, messages=STORY)
    limited = error_of(stage, anthropic.RateLimitError, key=hasty.key_text)
    assert limited.body["error"]["type"] == "rate_limit_error"
    assert 1 <= int(limited.response.headers["retry-after"]) <= 60


def test_a_broken_stream_raises(stage: Stage) -> None:
    events = client(stage).messages.create(
        model="hacxgpt-faulty", max_tokens=1024, messages=STORY, stream=True
    )

    with pytest.raises(anthropic.APIStatusError) as caught:
        list(events)
    assert caught.value.status_code == 200
    body: Any = caught.value.body
    assert body["error"]["type"] == "api_error"
    assert body["request_id"].startswith("req_")


@pytest.mark.parametrize("path", [MESSAGES, MESSAGES + "?beta=true", MESSAGES + "/"])
def test_both_ways_to_send_a_key_work_and_x_api_key_wins(stage: Stage, path: str) -> None:
    body = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY}

    def status(**headers: str) -> int:
        url = stage.api.url + path
        return requests.post(url, json=body, headers=headers, timeout=30).status_code

    good, bad = stage.acme.key_text, "hk-proj-wrong"
    assert status(Authorization=f"Bearer {good}") == 200
    assert status(**{"x-api-key": good, "anthropic-version": "2099-01-01"}) == 200
    assert status(**{"x-api-key": good, "Authorization": f"Bearer {bad}"}) == 200
    assert status(**{"x-api-key": bad, "Authorization": f"Bearer {good}"}) == 401
    assert status() == 401


def test_a_stream_on_the_wire_has_the_headers_and_the_same_request_id(stage: Stage) -> None:
    body = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY, "stream": True}

    answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    start = json.loads(answer.text.split("\n")[1].removeprefix("data: "))
    assert start["message"]["id"] == "msg_" + answer.headers["request-id"].removeprefix("req_")
    assert answer.text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert "anthropic-ratelimit-requests-remaining" in answer.headers
    assert "x-ratelimit-remaining-requests" in answer.headers


def test_other_methods_and_paths_are_refused_in_this_dialect(stage: Stage) -> None:
    url = stage.api.url + "/anthropic/v1"

    method = requests.get(url + "/messages", timeout=10)
    path = requests.post(url + "/complete", timeout=10)

    assert (method.status_code, method.headers["allow"]) == (405, "POST")
    assert method.json()["error"]["type"] == "invalid_request_error"
    assert path.status_code == 404
    assert path.json()["error"]["type"] == "not_found_error"


def test_a_repeated_idempotency_key_is_answered_again_and_billed_once(stage: Stage) -> None:
    body = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY, "stream": True}

    def send(path: str = MESSAGES) -> requests.Response:
        sent = {"Idempotency-Key": "once"}
        return post(stage.api.url, stage.acme.key_text, body, path=path, **sent)

    first, again = send(), send()

    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 1)
    assert send("/v1/chat/completions").status_code == 200
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 2)

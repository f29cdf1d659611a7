"""What Anthropic's and OpenAI's official clients try again, and how our refusals steer that."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from accounts.keys import KeySpec
from billing.budgets import create_budget
from kernel.ids import random_base62
from tests.calls import HELLO
from tests.factories import ACTOR, make_tenant
from tests.stage import Stage

ASKED: Any = {"model": "hacxgpt", "messages": HELLO, "max_tokens": 10}
Answer = Callable[[httpx2.Request], httpx2.Response]


class Counted(httpx2.BaseTransport):
    """Keeps the requests that a client sends, and has them answered."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer = answer

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._answer(request)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How long the clients would have waited."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    yield waits
    monkeypatch.undo()


def ask(
    sdk: str, transport: Counted, url: str = "http://scripted", key: str = "k", **fields: Any
) -> Any:
    """Ask with a client as it comes, which may try again."""
    http = httpx2.Client(transport=transport)
    asked = {**ASKED, **fields}
    if sdk == "openai":
        here = openai.OpenAI(api_key=key, base_url=url + "/v1", http_client=http)
        return here.chat.completions.create(**asked)
    there = anthropic.Anthropic(api_key=key, base_url=url + "/anthropic", http_client=http)
    return there.messages.create(**asked)


def refused(sdk: str, status: int, headers: Mapping[str, str] | None = None) -> Counted:
    """Have a client refused as often as it asks; return what it sent."""
    transport = Counted(lambda _: httpx2.Response(status, headers=headers, json={"error": {}}))
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        ask(sdk, transport)
    error: Any = caught.value
    assert error.status_code == status
    return transport


BOTH = pytest.mark.parametrize("sdk", ["openai", "anthropic"])


@BOTH
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_these_are_tried_twice_more_after_growing_pauses(
    sdk: str, status: int, slept: list[float]
) -> None:
    sent = refused(sdk, status).requests

    assert [each.headers["x-stainless-retry-count"] for each in sent] == ["0", "1", "2"]
    assert len(slept) == 2
    assert 0.375 <= slept[0] <= 0.5
    assert 0.75 <= slept[1] <= 1.0
    assert not [each for each in sent if "idempotency-key" in each.headers]


@BOTH
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 422, 499])
def test_these_are_never_tried_again(sdk: str, status: int, slept: list[float]) -> None:
    assert (len(refused(sdk, status).requests), slept) == (1, [])


@BOTH
@pytest.mark.parametrize("fault", [httpx2.ConnectError("gone"), httpx2.ReadTimeout("slow")])
def test_a_broken_connection_is_tried_again(sdk: str, fault: Exception, slept: list[float]) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise fault

    transport = Counted(fail)
    with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
        ask(sdk, transport)

    assert (len(transport.requests), len(slept)) == (3, 2)


@BOTH
@pytest.mark.usefixtures("slept")
def test_our_word_on_it_outweighs_the_status(sdk: str) -> None:
    stopped = refused(sdk, 429, {"x-should-retry": "false", "retry-after": "1"})
    forced = refused(sdk, 402, {"x-should-retry": "true"})

    assert (len(stopped.requests), len(forced.requests)) == (1, 3)


@BOTH
@pytest.mark.parametrize("headers", [{"retry-after": "60"}, {"retry-after-ms": "60000"}])
def test_a_minute_is_waited_as_told(sdk: str, headers: dict[str, str], slept: list[float]) -> None:
    refused(sdk, 429, headers)

    assert slept == [60, 60]


def test_beyond_two_minutes_one_client_gives_up_and_the_other_waits(slept: list[float]) -> None:
    refused("openai", 429, {"retry-after": "120"})
    assert slept == [120, 120]

    impatient = refused("openai", 429, {"retry-after": "121"})
    assert (len(impatient.requests), slept) == (1, [120, 120])

    patient = refused("anthropic", 429, {"retry-after": "86400"})
    assert (len(patient.requests), slept[2:]) == (3, [86_400, 86_400])


def tried(sdk: str, stage: Stage, key: str) -> list[httpx2.Request]:
    """Return the requests of a client whose call the platform refuses."""
    with httpx2.HTTPTransport() as way:
        transport = Counted(way.handle_request)
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
            ask(sdk, transport, stage.api.url, key)
    return transport.requests


@BOTH
def test_our_rate_limit_is_waited_for_and_tried_again(
    stage: Stage, sdk: str, slept: list[float]
) -> None:
    hasty = make_tenant(f"Hasty {random_base62(6)}", spec=KeySpec(name="hasty", rpm=1))
    with httpx2.HTTPTransport() as way:
        ask(sdk, Counted(way.handle_request), stage.api.url, hasty.key_text)

    sent = tried(sdk, stage, hasty.key_text)

    assert len(sent) == 3
    assert len(slept) == 2
    assert all(55 <= wait <= 60 for wait in slept)


@BOTH
def test_no_credit_and_no_budget_are_not_tried_again(
    stage: Stage, sdk: str, slept: list[float]
) -> None:
    poor = make_tenant(f"Poor {random_base62(6)}", credit_usd="0.000001")
    bound = make_tenant(f"Bound {random_base62(6)}")
    create_budget(org=bound.org, limit_nanos=1, period="day", actor=ACTOR)

    counts = [len(tried(sdk, stage, each.key_text)) for each in (poor, bound)]

    assert (counts, slept) == ([1, 1], [])


@BOTH
@pytest.mark.usefixtures("slept")
def test_nothing_is_tried_again_once_a_stream_has_begun(stage: Stage, sdk: str) -> None:
    broken: Any = {"model": "hacxgpt-faulty", "max_tokens": 1000, "stream": True}
    with httpx2.HTTPTransport() as way:
        transport = Counted(way.handle_request)
        stream = ask(sdk, transport, stage.api.url, stage.acme.key_text, **broken)
        with pytest.raises((openai.APIError, anthropic.APIError)):
            list(stream)

    assert len(transport.requests) == 1


def test_anthropics_client_sends_its_key_as_a_bearer(stage: Stage) -> None:
    with httpx2.HTTPTransport() as way:
        transport = Counted(way.handle_request)
        ask("anthropic", transport, stage.api.url, stage.acme.key_text)

    [sent] = transport.requests
    assert sent.headers["authorization"] == f"Bearer {stage.acme.key_text}"
    assert "x-api-key" not in sent.headers
    assert sent.headers["anthropic-version"] == "2026-10-21"

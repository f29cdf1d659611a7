"""Every error of the wire contract in both dialects: status, words and what it says of retrying."""

import http.client
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
import requests

from accounts.keys import KeySpec, mint_key, revoke_key
from accounts.models import ApiKey
from billing.budgets import create_budget
from billing.models import Hold, UsageEvent
from billing.prices import text_price
from gateway.call import Call
from gateway.consumers import CompletionConsumer, MessagesConsumer
from gateway.models import Provider
from gateway.offers import create_model
from kernel import clock
from kernel.ids import random_base62
from tests.calls import RawStream, chat_body, post, wait_for
from tests.factories import ACTOR, make_tenant, offer_evil
from tests.fakes.hostile import Attack, HostileUpstream
from tests.gateway.test_contract_door import CHAT, MESSAGES, Door, said
from tests.stage import House, Stage, open_house

BOTH = pytest.mark.parametrize("door", [CHAT, MESSAGES], ids=lambda door: door.path)
RETRY = ("retry-after", "retry-after-ms", "x-should-retry")
SECRETS = ("sk-upstream-secret", "evil.example", "/srv/app.py", "Traceback", "hk-proj-")
SLOW_S = 1


def refusal(status: int, **error: str) -> Iterator[bytes]:
    """What a provider says that refuses: its own name, key and paths among it."""
    body = json.dumps({"error": {"message": " ".join(SECRETS), **error}}).encode()
    yield b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (
        status,
        len(body),
    )
    yield b"connection: close\r\n\r\n" + body


def silence() -> Iterator[bytes]:
    time.sleep(SLOW_S + 2)
    yield b""


UPSTREAMS: dict[str, Attack] = {
    "refuses-401": partial(refusal, 401),
    "refuses-402": partial(refusal, 402),
    "refuses-403": partial(refusal, 403),
    "refuses-404": partial(refusal, 404),
    "refuses-429": partial(refusal, 429),
    "refuses-quota": partial(refusal, 429, code="insufficient_quota", type="insufficient_quota"),
    "refuses-500": partial(refusal, 500),
    "refuses-503": partial(refusal, 503),
    "nonsense": partial(refusal, 200),
    "silent": silence,
}


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    upstream = HostileUpstream(UPSTREAMS)

    def prepare() -> None:
        offer_evil(upstream.url)
        Provider.objects.filter(name="evil").update(read_timeout_s=SLOW_S)
        for name in UPSTREAMS:
            price = text_price(1_000_000_000, 2_000_000_000)
            create_model(name, provider="evil", upstream_model=name, price=price, actor=ACTOR)

    folder = tmp_path_factory.mktemp("house")
    with open_house(
        django_db_blocker, folder, prepare=prepare, BODY_TIMEOUT_S=str(SLOW_S)
    ) as opened:
        yield opened
    upstream.close()


def ask(stage: Stage, door: Door, key: str | None = None, **fields: Any) -> requests.Response:
    key = key or stage.acme.key_text
    return post(stage.api.url, key, {**door.body, **fields}, path=door.path)


def code(answer: requests.Response) -> str | None:
    """Return OpenAI's code; Anthropic's envelope has none."""
    found: str | None = answer.json()["error"].get("code")
    return found


def retries(answer: requests.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in RETRY if name in answer.headers}


def assert_refused(answer: requests.Response, door: Door, openais: Any, anthropics: Any) -> None:
    """The first is status, type and code, the second status and type; no secret is said."""
    assert said(answer) == (anthropics if door.is_anthropics else openais[:2])
    if not door.is_anthropics:
        assert code(answer) == openais[2]
    assert not [secret for secret in SECRETS if secret in answer.json()["error"]["message"]]


def assert_nothing_moved(stage: Stage) -> None:
    held = Hold.objects.filter(org_id=stage.acme.org.pk, state="held")
    wait_for(lambda: not held.exists(), what="every hold's end")
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0


@BOTH
def test_a_bad_parameter_is_400(stage: Stage, door: Door) -> None:
    answer = ask(stage, door, temperature="warm")

    kind = "invalid_request_error"
    assert_refused(answer, door, (400, kind, "invalid_type"), (400, kind))
    if door.is_anthropics:
        assert answer.json()["error"]["message"].startswith("temperature: ")
    else:
        assert answer.json()["error"]["param"] == "temperature"
    assert retries(answer) == {}
    assert_nothing_moved(stage)


@BOTH
@pytest.mark.parametrize("fault", ["malformed", "unknown", "revoked", "expired"])
def test_a_key_that_is_not_good_is_401_whatever_is_wrong_with_it(
    stage: Stage, door: Door, fault: str
) -> None:
    past = clock.now() - timedelta(seconds=1)
    spec = KeySpec(expires_at=past if fault == "expired" else None)
    minted = mint_key(stage.acme.project, spec, actor=ACTOR)
    if fault == "revoked":
        revoke_key(minted.key, actor=ACTOR)
    if fault == "unknown":
        ApiKey.objects.filter(pk=minted.key.pk).delete()
    key = "hk-proj-wrong" if fault == "malformed" else minted.text

    answer = ask(stage, door, key)

    error = answer.json()["error"]
    if door.is_anthropics:
        assert said(answer) == (401, "authentication_error")
    else:
        assert said(answer) == (401, "invalid_request_error")
        assert (error["code"], error["param"]) == ("invalid_api_key", None)
    assert error["message"].endswith(": hk-proj-***.")
    assert retries(answer) == {}
    assert_nothing_moved(stage)


@BOTH
def test_without_a_key_it_is_401_without_a_code(stage: Stage, door: Door) -> None:
    answer = requests.post(stage.api.url + door.path, json=door.body, timeout=10)

    kind = "authentication_error" if door.is_anthropics else "invalid_request_error"
    assert said(answer) == (401, kind)
    assert code(answer) is None
    assert retries(answer) == {}


@BOTH
def test_without_credit_it_is_402_which_nobody_tries_again(stage: Stage, door: Door) -> None:
    poor = make_tenant(f"Poor {random_base62(6)}", credit_usd="0.000001")

    answer = ask(stage, door, poor.key_text)

    openais = (402, "insufficient_quota", "credit_balance_exhausted")
    assert_refused(answer, door, openais, (402, "billing_error"))
    assert "credit" in answer.json()["error"]["message"]
    assert retries(answer) == {"x-should-retry": "false"}
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()


@BOTH
@pytest.mark.parametrize(
    ("fault", "spec"),
    [
        ("model_not_allowed", KeySpec(allowed_models=["gpt-4o"])),
        ("address_not_allowed", KeySpec(allowed_networks=["203.0.113.0/24", "::1/128"])),
        ("account_suspended", KeySpec()),
    ],
)
def test_a_good_key_without_the_right_is_403(
    stage: Stage, door: Door, fault: str, spec: KeySpec
) -> None:
    key = mint_key(stage.acme.project, spec, actor=ACTOR).text
    if fault == "account_suspended":
        stage.acme.org.status = "suspended"
        stage.acme.org.save()

    answer = ask(stage, door, key)

    kind = "permission_error"
    assert_refused(answer, door, (403, kind, fault), (403, kind))
    assert retries(answer) == {}
    assert_nothing_moved(stage)


@BOTH
def test_a_key_serves_from_its_addresses_whatever_a_caller_says_of_its_own(
    stage: Stage, door: Door
) -> None:
    here, elsewhere = (
        mint_key(stage.acme.project, KeySpec(allowed_networks=[network]), actor=ACTOR).text
        for network in ("127.0.0.0/8", "203.0.113.0/24")
    )
    claim = {"x-forwarded-for": "203.0.113.7", "x-real-ip": "203.0.113.7"}

    answers = [
        post(stage.api.url, key, door.body, path=door.path, **claim) for key in (here, elsewhere)
    ]

    assert [answer.status_code for answer in answers] == [200, 403]


@BOTH
def test_an_unknown_model_and_path_are_404(stage: Stage, door: Door) -> None:
    model = ask(stage, door, model="no/such")
    path = post(stage.api.url, stage.acme.key_text, door.body, path=door.path + "/nothing")

    kinds = ("invalid_request_error", "not_found_error")
    for answer, word in ((model, "model_not_found"), (path, "unknown_url")):
        assert_refused(answer, door, (404, kinds[0], word), (404, kinds[1]))
        assert retries(answer) == {}
    assert "no/such" in model.json()["error"]["message"]
    assert_nothing_moved(stage)


@BOTH
def test_a_body_that_arrives_too_slowly_is_408(stage: Stage, door: Door) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stage.api.port, timeout=20)
    connection.putrequest("POST", door.path)
    connection.putheader("x-api-key", stage.acme.key_text)
    connection.putheader("content-length", "1000")
    connection.endheaders(b"{")

    answer = connection.getresponse()
    error = json.loads(answer.read())["error"]
    connection.close()

    assert (answer.status, error["type"]) == (408, "timeout_error")
    assert not [name for name in RETRY if answer.headers[name]]
    assert_nothing_moved(stage)


@BOTH
def test_a_key_of_a_call_that_still_runs_is_409_and_of_another_body_422(
    stage: Stage, door: Door
) -> None:
    body = chat_body(stream=True, mock={"chunks": 400, "delay_ms": 20})
    if door.is_anthropics:
        body = {**MESSAGES.body, "model": "silent"}
    key = {"idempotency-key": "a"}
    running = RawStream(stage.api.port, stage.acme.key_text, body, headers=key, path=door.path)
    mine = Hold.objects.filter(org_id=stage.acme.org.pk, state="held")
    wait_for(mine.exists, what="the hold")

    again = post(stage.api.url, stage.acme.key_text, body, path=door.path, **key)
    other = post(stage.api.url, stage.acme.key_text, door.body, path=door.path, **key)
    running.leave()

    kind = "conflict_error"
    assert_refused(again, door, (409, kind, "idempotency_conflict"), (409, kind))
    assert again.headers["retry-after"] == "1"
    kind = "invalid_request_error"
    assert_refused(other, door, (422, kind, "idempotency_key_reused"), (422, kind))
    assert retries(other) == {}


@BOTH
def test_a_rate_limit_is_429_with_when_to_come_back(stage: Stage, door: Door) -> None:
    key = mint_key(stage.acme.project, KeySpec(rpm=2), actor=ACTOR).text

    *passed, answer = [ask(stage, door, key) for _ in range(3)]

    assert [each.status_code for each in passed] == [200, 200]
    kind = "rate_limit_error"
    assert_refused(answer, door, (429, kind, "rate_limit_exceeded"), (429, kind))
    assert "budget" not in answer.json()["error"]["message"].lower()
    assert set(retries(answer)) == {"retry-after", "retry-after-ms"}
    seconds = int(answer.headers["retry-after"])
    assert seconds in (29, 30)
    assert int(answer.headers["retry-after-ms"]) == 1000 * seconds


@BOTH
@pytest.mark.parametrize(
    ("level", "word"),
    [
        ("key", "project_spend_limit_exceeded"),
        ("project", "project_spend_limit_exceeded"),
        ("org", "organization_spend_limit_exceeded"),
    ],
)
def test_a_used_up_budget_is_429_with_no_time_to_come_back(
    stage: Stage, door: Door, level: str, word: str
) -> None:
    acme = stage.acme
    of_level: dict[str, Any] = {
        "key": {"key": acme.key},
        "project": {"project": acme.project},
        "org": {},
    }
    create_budget(org=acme.org, limit_nanos=1, period="day", actor=ACTOR, **of_level[level])

    answer = ask(stage, door)

    assert_refused(answer, door, (429, "insufficient_quota", word), (429, "rate_limit_error"))
    assert "budget" in answer.json()["error"]["message"]
    if door.is_anthropics:
        details = answer.json()["error"]["details"]
        assert details == {"error_code": "enforced_spend_limit_reached"}
    assert retries(answer) == {"x-should-retry": "false"}
    assert_nothing_moved(stage)


@BOTH
@pytest.mark.parametrize(
    "model", [name for name in UPSTREAMS if name[-3:] in {"401", "402", "403", "404", "500", "nse"}]
)
def test_a_provider_that_refuses_us_or_answers_nonsense_is_502_in_our_words(
    stage: Stage, door: Door, model: str
) -> None:
    answer = ask(stage, door, model=model)

    assert_refused(answer, door, (502, "server_error", "upstream_error"), (502, "api_error"))
    assert retries(answer) == {}
    assert_nothing_moved(stage)


@BOTH
@pytest.mark.parametrize("model", ["refuses-429", "refuses-quota", "refuses-503"])
def test_a_provider_without_room_is_503_here_and_529_there(
    stage: Stage, door: Door, model: str
) -> None:
    answer = ask(stage, door, model=model)

    openais = (503, "service_unavailable_error", "server_is_overloaded")
    assert_refused(answer, door, openais, (529, "overloaded_error"))
    assert retries(answer) == {"retry-after": "2"}
    assert_nothing_moved(stage)


@BOTH
def test_a_provider_that_is_too_slow_is_504(stage: Stage, door: Door) -> None:
    answer = ask(stage, door, model="silent")

    openais = (504, "server_error", "upstream_timeout")
    assert_refused(answer, door, openais, (504, "timeout_error"))
    assert retries(answer) == {}
    assert_nothing_moved(stage)


@pytest.mark.parametrize(
    ("consumer", "error"),
    [
        (CompletionConsumer, {"type": "server_error", "param": None, "code": "internal_error"}),
        (MessagesConsumer, {"type": "api_error"}),
    ],
)
async def test_a_fault_of_ours_is_500_and_says_nothing_of_itself(
    monkeypatch: pytest.MonkeyPatch, consumer: type[CompletionConsumer], error: dict[str, Any]
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("of /srv/app.py")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setattr(consumer, "handle", fail)
    runtime: Any = None

    await consumer().serve(Call({}, b"", consumer.dialect, send), runtime)

    assert sent[0]["status"] == 500
    said = orjson.loads(sent[1]["body"])["error"]
    assert said == {"message": "The server had an error; try again.", **error}


@pytest.mark.parametrize("words", [0, 3])
def test_a_caller_who_leaves_is_499_in_the_log_alone(stage: Stage, words: int) -> None:
    before = stage.api.log.read_text().count("status=499")
    body = chat_body(stream=True, mock={"chunks": 400, "delay_ms": 20, "head_after_ms": 300})
    stream = RawStream(stage.api.port, stage.acme.key_text, body)
    mine = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(mine.exists, what="the hold")
    if words:
        stream.read_words(words)

    stream.leave()

    wait_for(lambda: not mine.filter(state="held").exists(), what="the hold's end")
    wait_for(
        lambda: stage.api.log.read_text().count("status=499") == before + 1, what="the log line"
    )

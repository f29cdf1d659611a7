"""An organization's own provider key: used for its calls alone, seen by nobody, never replaced."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.db import connection

from accounts.models import AuditEvent
from billing.drift import read_drift
from billing.models import Hold, UsageEvent
from billing.prices import set_provider_cost, text_price
from gateway.models import ProviderKey
from gateway.provider_keys import remove_provider_key, set_provider_key
from kernel import clock
from kernel.errors import BadRequestError, NotFoundError
from kernel.money import parse_usd
from tests.books import assert_proven
from tests.calls import RawStream, chat_body, frames, post, transcript, wait_for
from tests.claude import running_claude
from tests.factories import ACTOR, Tenant, make_tenant
from tests.servers import Server
from tests.stage import House, Stage
from tests.stage import own_house as house

__all__ = ["house"]

OWN = "sk-own-of-acme-1234"
PLATFORMS = "Bearer sk-upstream-secret"
MESSAGES = "/anthropic/v1/messages"


@pytest.fixture(scope="module")
def claude(house: House) -> Iterator[Server]:
    with running_claude(house) as server:
        yield server


def call(house: House, tenant: Tenant, model: str = "mock", **fields: Any) -> requests.Response:
    return post(house.api.url, tenant.key_text, chat_body(model, **fields))


def authorization_of(house: House, tenant: Tenant, **fields: Any) -> str:
    """Call, and return the header the upstream saw of this very call."""
    mark = f"{tenant.org.public_id}-{clock.monotonic()}"
    call(house, tenant, user=mark, **fields)
    seen = [each for each in transcript(house.upstream.url) if each["user"] == mark]
    assert len(seen) == 1
    header: str = seen[0]["authorization"]
    return header


def give_own_key(house: House, tenant: Tenant, credential: str = OWN) -> None:
    """Set the tenant's own key and wait until its calls carry it."""
    set_provider_key(tenant.org, "mock", credential, actor=ACTOR)
    wait_for(lambda: authorization_of(house, tenant) == f"Bearer {credential}", what="the key")


def usage_rows(tenant: Tenant) -> int:
    return UsageEvent.objects.filter(org_id=tenant.org.pk).count()


def test_only_its_organizations_calls_carry_it(stage: Stage) -> None:
    mallory = make_tenant("Mallory")
    give_own_key(stage, stage.acme)

    hers = authorization_of(stage, stage.acme, stream=True)
    others = {authorization_of(stage, mallory, stream=streamed) for streamed in (True, False)}

    assert hers == f"Bearer {OWN}"
    assert others == {PLATFORMS}


def test_callers_of_both_dialects_are_served_under_it_at_both_kinds_of_provider(
    stage: Stage, claude: Server
) -> None:
    give_own_key(stage, stage.acme)
    set_provider_key(stage.acme.org, "claude", "sk-ant-own-of-acme", actor=ACTOR)

    def key_seen_at_claude() -> Any:
        assert call(stage, stage.acme, "claude").status_code == 200
        return transcript(claude.url)[-1]["key"]

    wait_for(lambda: key_seen_at_claude() == "sk-ant-own-of-acme", what="the key")
    body = {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    key, url = stage.acme.key_text, stage.api.url
    at_claude = post(url, key, {**body, "model": "claude"}, path=MESSAGES)
    at_mock = post(url, key, {**body, "model": "mock"}, path=MESSAGES)

    assert (at_claude.status_code, at_mock.status_code) == (200, 200)
    assert transcript(claude.url)[-1]["key"] == "sk-ant-own-of-acme"
    assert transcript(stage.upstream.url)[-1]["authorization"] == f"Bearer {OWN}"


def test_the_answer_says_so_and_the_provider_costs_us_nothing(stage: Stage) -> None:
    set_provider_cost("mock", "up-1", text_price(parse_usd("0.50"), parse_usd("1.00")), actor=ACTOR)
    give_own_key(stage, stage.acme)
    began = clock.now()

    whole = call(stage, stage.acme, mock={"chunks": 4}).json()
    streamed = call(
        stage, stage.acme, mock={"chunks": 4}, stream=True, stream_options={"include_usage": True}
    )

    remarks = {"evidence": "provider", "provider_key": "own"}
    assert whole["usage"]["x_tollgate"] == remarks
    assert frames(streamed.text)[-2]["usage"]["x_tollgate"] == remarks
    request_id = "req_" + whole["id"].removeprefix("chatcmpl-")
    row = wait_for(UsageEvent.objects.filter(request_id=request_id).first)
    assert (row.provider, row.amount_nanos, row.upstream_nanos) == ("mock", 17_000, 0)
    connection.ensure_connection()
    [drift] = [
        each
        for each in read_drift(connection.connection, began, clock.now())
        if each.provider == "mock" and each.charged_nanos
    ]
    assert (drift.cost_nanos, drift.margin_nanos) == (0, drift.charged_nanos)
    assert_proven(stage.stores.database_url, stage.journals)


REFUSALS: list[dict[str, Any]] = [
    {"status": 401},
    {"status": 402},
    {"status": 403},
    {"status": 429, "error": {"code": "insufficient_quota"}},
    {"status": 400, "error": {"message": "Your credit balance is too low."}},
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_own_key_fails_the_call_and_the_platforms_never_takes_its_place(
    stage: Stage, refusal: dict[str, Any], *, streamed: bool
) -> None:
    give_own_key(stage, stage.acme)
    wait_until_all_is_closed(stage.acme)
    before, asked = usage_rows(stage.acme), len(transcript(stage.upstream.url))

    answer = call(stage, stage.acme, stream=streamed, mock=refusal)

    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.json()["error"]["code"] == "provider_key_refused"
    assert "your organization's own key" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    seen = transcript(stage.upstream.url)[asked:]
    assert [each["authorization"] for each in seen] == [f"Bearer {OWN}"]
    wait_until_all_is_closed(stage.acme)
    assert usage_rows(stage.acme) == before
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_refused_own_key_is_told_in_anthropics_dialect_too(stage: Stage, claude: Server) -> None:
    set_provider_key(stage.acme.org, "claude", "sk-ant-own-of-acme", actor=ACTOR)
    body = {
        "model": "claude",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello"}],
        "mock": {"status": 401, "error": {"type": "authentication_error", "message": "sk-ant"}},
    }

    def told() -> Any:
        answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES)
        assert answer.status_code == 502
        return [answer] if "own key" in answer.text else None

    [answer] = wait_for(told, what="the key in force")
    error = answer.json()["error"]
    assert answer.headers["x-should-retry"] == "false"
    assert error["type"] == "api_error"
    assert "sk-ant" not in error["message"]
    assert usage_rows(stage.acme) == 0


def test_the_same_refusal_of_the_platforms_key_stays_the_providers_failure(stage: Stage) -> None:
    answer = call(stage, stage.acme, mock={"status": 401})

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")


def test_a_key_that_is_replaced_serves_the_next_call_while_a_stream_goes_on(stage: Stage) -> None:
    give_own_key(stage, stage.acme)
    body = chat_body(stream=True, mock={"chunks": 60, "delay_ms": 50})
    stream = RawStream(stage.api.port, stage.acme.key_text, body)
    stream.read_words(2)

    give_own_key(stage, stage.acme, "sk-second-of-acme")

    assert stream.received.count(b'"content":" word"') < 60  # it ran when the new key was used
    assert stream.read_until(lambda data: b"[DONE]" in data).count(b'"content":" word"') == 60
    assert ProviderKey.objects.get(org=stage.acme.org).last_four == "acme"


def test_after_its_removal_the_platforms_key_serves_again(stage: Stage) -> None:
    give_own_key(stage, stage.acme)

    remove_provider_key(stage.acme.org, "mock", actor=ACTOR)

    wait_for(lambda: authorization_of(stage, stage.acme) == PLATFORMS, what="the removal")
    with pytest.raises(NotFoundError):
        remove_provider_key(stage.acme.org, "mock", actor=ACTOR)


def test_it_is_sealed_at_rest_and_in_no_log_and_no_audit_event(stage: Stage) -> None:
    give_own_key(stage, stage.acme)
    call(stage, stage.acme, mock={"status": 401})
    call(stage, stage.acme, mock={"status": 500})

    with connection.cursor() as cursor:
        cursor.execute(
            "select k::text, convert_from(credential, 'UTF8') from gateway_providerkey k"
            " where org_id = %s",
            [stage.acme.org.pk],
        )
        [(row, credential)] = cursor.fetchall()
    assert OWN not in row + credential
    assert OWN.removesuffix("1234") not in stage.api.log.read_text()
    event = AuditEvent.objects.get(org_id=stage.acme.org.pk, action="provider_key.set")
    assert (event.actor, event.target, event.after) == (ACTOR, "mock", {"last_four": "1234"})


@pytest.mark.parametrize("credential", ["short", "sk-with blanks in it", "sk-line\r\nx-a: b", ""])
def test_what_cannot_be_a_key_is_refused_and_nothing_is_stored(
    stage: Stage, credential: str
) -> None:
    with pytest.raises(BadRequestError):
        set_provider_key(stage.acme.org, "mock", credential, actor=ACTOR)

    assert not ProviderKey.objects.filter(org=stage.acme.org).exists()


def test_a_provider_that_takes_no_key_and_one_that_is_not_there_are_refused(stage: Stage) -> None:
    with pytest.raises(BadRequestError):
        set_provider_key(stage.acme.org, "simulator", OWN, actor=ACTOR)
    with pytest.raises(NotFoundError):
        set_provider_key(stage.acme.org, "nobody", OWN, actor=ACTOR)

    assert not ProviderKey.objects.filter(org=stage.acme.org).exists()


def wait_until_all_is_closed(tenant: Tenant) -> None:
    held = Hold.objects.filter(org_id=tenant.org.pk, state="held")
    wait_for(lambda: not held.exists(), what="the end of all holds")

"""Others' published mistakes around keys, which are not made here, over the wire."""

from collections.abc import Callable

import pytest
import requests

from accounts import key_format, models
from accounts.key_format import render_key
from accounts.keys import KeySpec
from accounts.models import ApiKey
from billing.models import Hold, UsageEvent
from kernel.ids import random_base62
from tests.books import assert_proven
from tests.calls import HELLO, chat_body, post, wait_for
from tests.factories import Tenant, make_tenant
from tests.stage import Stage

DOORS = {
    "/v1/chat/completions": chat_body(mock={"chunks": 1}),
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": "Hello"},
    "/v1/responses": {"model": "mock", "input": "Hello"},
    "/anthropic/v1/messages": {"model": "mock", "messages": HELLO, "max_tokens": 9},
}
INJECTED = [
    "' or '1'='1",
    "hk-proj-' or 1=1; drop table accounts_apikey; --",
    "hk-proj-AAAAAAAAAAAA' union select * from accounts_apikey where '1'='1",
    "'; select pg_sleep(10); --",
    "%' or public_id like '%",
    "$1",
    "%s",
    "\\'; copy accounts_apikey to program 'id'; --",
]


def well_formed(text: str) -> str:
    """Give a text the form of a key as far as that goes: its length and its checksum."""
    head = "hk-proj-" + text.ljust(44, "A")[:44]
    return head + key_format.checksum(head)


@pytest.mark.parametrize("token", [*INJECTED, *map(well_formed, INJECTED)])
@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_sql_in_a_key_is_a_bad_key_and_nothing_else(stage: Stage, token: str, name: str) -> None:
    keys = ApiKey.objects.count()
    value = f"Bearer {token}" if name == "authorization" else token

    for path, body in DOORS.items():
        answer = requests.post(stage.api.url + path, json=body, headers={name: value}, timeout=10)
        error = answer.json()["error"]
        assert answer.status_code == 401
        assert token not in error["message"]
    listed = requests.get(stage.api.url + "/v1/key", headers={name: value}, timeout=10)

    assert listed.status_code == 401
    assert ApiKey.objects.count() == keys
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()
    assert token not in stage.api.log.read_text()


def always(text: str) -> Callable[[int], str]:
    return lambda _: text


@pytest.fixture
def twins(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> tuple[Tenant, Tenant]:
    """Alice's key and Mallory's: alike but for the last characters of id, secret and checksum."""
    made = []
    shared = random_base62(11)
    for last, spec in (("a", KeySpec(name="alice", rpm=100)), ("b", KeySpec(name="m", rpm=1))):
        monkeypatch.setattr(models, "random_base62", always(shared + last))
        monkeypatch.setattr(key_format, "random_base62", always("S" * 31 + last))
        made.append(make_tenant(f"Twin {shared}{last}", spec=spec))
    return made[0], made[1]


def wait_for_rows(tenant: Tenant, count: int) -> None:
    rows = UsageEvent.objects.filter(org_id=tenant.org.pk)
    wait_for(lambda: rows.count() == count, what=f"{count} usage rows")


def test_two_keys_that_begin_alike_are_two_callers(
    stage: Stage, twins: tuple[Tenant, Tenant]
) -> None:
    alice, mallory = twins
    assert alice.key_text[:19] == mallory.key_text[:19]
    body = chat_body(mock={"chunks": 3}, user="twins")
    cached = {"x-tollgate-cache": "ttl=60"}

    firsts = [post(stage.api.url, each.key_text, body, **cached) for each in (alice, mallory)]
    again = post(stage.api.url, alice.key_text, body, **cached)
    refused = post(stage.api.url, mallory.key_text, body, **cached)

    assert [answer.status_code for answer in (*firsts, again, refused)] == [200, 200, 200, 429]
    assert [answer.headers["x-tollgate-cache"] for answer in firsts] == ["miss", "miss"]
    assert again.headers["x-tollgate-cache"] == "hit"
    for tenant, count in ((alice, 2), (mallory, 1)):
        wait_for_rows(tenant, count)
        own = requests.get(
            stage.api.url + "/v1/key",
            headers={"authorization": f"Bearer {tenant.key_text}"},
            timeout=10,
        ).json()
        assert own["id"] == tenant.key.public_id
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_forged_key_that_begins_as_a_remembered_one_is_refused(stage: Stage) -> None:
    assert post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 1})).ok
    secret = stage.acme.key_text[20:-6]
    forged = render_key("proj", stage.acme.key.public_id, secret[:-1] + "01"[secret[-1] == "0"])
    assert forged[:50] == stage.acme.key_text[:50]

    answer = post(stage.api.url, forged, chat_body(mock={"chunks": 1}))

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    wait_for_rows(stage.acme, 1)

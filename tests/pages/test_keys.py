"""The keys page: a key is shown once, has its limits from the first moment, stops for good."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from accounts.key_format import parse_key
from accounts.models import ApiKey, AuditEvent
from billing.models import Budget
from kernel import clock
from tests.pages.conftest import Cast

KEY = re.compile(r"hk-proj-[0-9A-Za-z]{50}")


def asked_for(cast: Cast, **changed: object) -> dict[str, object]:
    usual = {"name": "Support bot", "project": cast.acme.project.public_id, "period": "month"}
    return {**usual, **changed}


def keys_of(cast: Cast) -> int:
    return ApiKey.objects.filter(org=cast.acme.org).count()


def test_a_new_keys_text_is_shown_once_and_never_again(cast: Cast) -> None:
    client = cast.signed_in(cast.alice)

    made = client.post("/keys/new", asked_for(cast))
    shown = set(KEY.findall(made.content.decode()))

    assert len(shown) == 1
    presented = parse_key(shown.pop())
    assert presented is not None
    key = ApiKey.objects.get(public_id=presented.public_id)
    assert (key.name, key.org, key.created_by) == ("Support bot", cast.acme.org, cast.alice)
    assert "no-store" in made["cache-control"]
    for path in ("/", "/keys/", "/keys/new"):
        assert presented.secret not in client.get(path).content.decode()


def test_a_key_has_the_limits_it_was_asked_for_from_its_first_moment(cast: Cast) -> None:
    limits = {"models": ["gpt-4o", "hacxgpt"], "rpm": "60", "budget": "12.50", "lifetime": "30"}
    limits["networks"] = "203.0.113.7, 2001:db8::/32"
    cast.signed_in(cast.alice).post("/keys/new", asked_for(cast, **limits))

    key = ApiKey.objects.get(name="Support bot")
    budget = Budget.objects.get(key=key)
    assert key.allowed_models == ["gpt-4o", "hacxgpt"]
    assert key.allowed_networks == ["203.0.113.7/32", "2001:db8::/32"]
    assert key.rpm == 60
    assert key.expires_at is not None
    assert abs(key.expires_at - clock.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert (budget.limit_nanos, budget.period) == (12_500_000_000, "month")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"budget": "1e3"},
        {"networks": "office"},
        {"budget": "-1"},
        {"budget": "0"},
        {"rpm": "0"},
        {"models": ["a-model-that-is-not-offered"]},
        {"period": "decade"},
        {"lifetime": "9999"},
        {"project": "proj_AAAAAAAAAAAA"},
    ],
)
def test_an_odd_request_makes_neither_key_nor_budget(cast: Cast, wrong: dict[str, object]) -> None:
    before = keys_of(cast)

    answer = cast.signed_in(cast.alice).post("/keys/new", asked_for(cast, **wrong))

    assert answer.status_code == 200
    assert not KEY.search(answer.content.decode())
    assert (keys_of(cast), Budget.objects.count()) == (before, 0)


def test_a_key_cannot_be_made_in_another_organizations_project(cast: Cast) -> None:
    before = ApiKey.objects.count()

    cast.signed_in(cast.mallory).post("/keys/new", asked_for(cast))

    assert ApiKey.objects.count() == before


def test_a_viewer_sees_keys_and_changes_none(cast: Cast) -> None:
    client, key = cast.signed_in(cast.bob), cast.acme.key
    before = keys_of(cast)

    page = client.get("/keys/").content.decode()
    made = client.post("/keys/new", asked_for(cast))
    revoked = client.post(f"/keys/{key.public_id}/revoke")

    assert key.masked in page
    assert "/keys/new" not in page
    assert "/revoke" not in page
    assert (made.status_code, revoked.status_code) == (403, 403)
    key.refresh_from_db()
    assert (keys_of(cast), key.revoked_at) == (before, None)


def test_revoking_asks_first_and_then_stops_the_key_for_good(cast: Cast) -> None:
    client, key = cast.signed_in(cast.alice), cast.acme.key

    asked = client.get(f"/keys/{key.public_id}/revoke")
    key.refresh_from_db()
    untouched = key.revoked_at is None
    done = client.post(f"/keys/{key.public_id}/revoke")

    key.refresh_from_db()
    assert (asked.status_code, untouched) == (200, True)
    assert (done.status_code, done["location"]) == (302, "/keys/")
    assert key.revoked_at is not None
    assert "1 revoked" in client.get("/keys/").content.decode()
    event = AuditEvent.objects.get(action="key.revoke")
    assert event.actor == "alice@example.com"


def test_a_stranger_cannot_tell_anothers_key_from_none(cast: Cast) -> None:
    client, key = cast.signed_in(cast.mallory), cast.acme.key

    theirs = client.post(f"/keys/{key.public_id}/revoke")
    nobodys = client.post("/keys/AAAAAAAAAAAA/revoke")

    key.refresh_from_db()
    assert key.revoked_at is None
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.content == nobodys.content


def test_a_form_without_its_token_changes_nothing(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice)
    before = keys_of(cast)

    answer = client.post("/keys/new", asked_for(cast))

    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()
    assert keys_of(cast) == before

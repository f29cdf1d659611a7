"""Webhook endpoints by REST: with an admin key of the organization, and nothing of a stranger's."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.conf import LazySettings

from accounts.models import AuditEvent
from billing.models import OutboxEvent, WebhookEndpoint
from billing.notices.telling import tell
from tests.api.customer import admin_key
from tests.factories import make_tenant
from tests.fakes.receiver import Receiver, running_receiver
from tests.notices.conftest import LOOPBACK
from tests.stage import House, Stage, open_house, stage

__all__ = ["stage"]

PATH = "/v1/organization/webhooks"


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, WEBHOOK_NETWORKS="127.0.0.0/8") as opened:
        yield opened


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    settings.WEBHOOK_NETWORKS = LOOPBACK
    with running_receiver() as running:
        yield running


class Client:
    def __init__(self, stage: Stage, key: str) -> None:
        self._url = stage.api.url + PATH
        self._headers = {"authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str = "", **body: Any) -> requests.Response:
        return requests.request(
            method, self._url + path, headers=self._headers, json=body or None, timeout=30
        )


def admin(stage: Stage) -> Client:
    return Client(stage, admin_key(stage.acme))


def test_an_endpoint_is_made_shown_listed_tested_and_deleted(
    stage: Stage, receiver: Receiver
) -> None:
    ask = admin(stage)

    made = ask("POST", url=receiver.url, kinds=["balance.low"], description="ours").json()
    secret = made.pop("secret")
    assert made == {
        "object": "webhook_endpoint",
        "id": made["id"],
        "url": receiver.url,
        "kinds": ["balance.low"],
        "description": "ours",
        "status": "enabled",
        "disabled_why": None,
        "failing_since": None,
        "created_at": made["created_at"],
    }
    assert secret.startswith("whsec_")
    assert ask("GET", f"/{made['id']}").json() == made
    assert ask("GET").json() == {"object": "list", "data": [made], "has_more": False}

    delivery = ask("POST", f"/{made['id']}/test").json()
    assert (delivery["type"], delivery["status"], delivery["attempts"]) == (
        *("webhook.test", "due"),
        [],
    )
    tell()
    (posted,) = receiver.posted
    assert (posted.event_id, posted.signed_by(secret)) == (delivery["event"], True)
    (told,) = ask("GET", f"/{made['id']}/deliveries").json()["data"]
    (attempt,) = told["attempts"]
    assert (told["id"], told["status"], told["next_attempt_at"]) == (
        *(delivery["id"], "delivered"),
        None,
    )
    assert (attempt["number"], attempt["status"], attempt["error"]) == (1, 200, None)

    assert ask("DELETE", f"/{made['id']}").json()["deleted"] is True
    assert ask("GET", f"/{made['id']}").status_code == 404
    assert ask("GET").json()["data"] == []


def test_a_rotated_secret_signs_beside_the_old_one(stage: Stage, receiver: Receiver) -> None:
    ask = admin(stage)
    made = ask("POST", url=receiver.url).json()

    rotated = ask("POST", f"/{made['id']}/rotate", overlap="1h").json()
    ask("POST", f"/{made['id']}/test")
    tell()

    (posted,) = receiver.posted
    assert rotated["secret"] != made["secret"]
    assert posted.signed_by(made["secret"])
    assert posted.signed_by(rotated["secret"])
    assert ask("POST", f"/{made['id']}/rotate").status_code == 200
    assert ask("POST", f"/{made['id']}/rotate", overlap="31d").status_code == 400


def test_a_delivery_is_sent_again_under_the_same_event_id(stage: Stage, receiver: Receiver) -> None:
    ask = admin(stage)
    made = ask("POST", url=receiver.url).json()
    delivery = ask("POST", f"/{made['id']}/test").json()
    again = f"/{made['id']}/deliveries/{delivery['id']}/resend"

    assert ask("POST", again).json()["error"]["code"] == "delivery_due"
    tell()
    assert ask("POST", again).json()["status"] == "due"
    tell()

    assert [posted.event_id for posted in receiver.posted] == [delivery["event"]] * 2


def test_deliveries_are_listed_from_the_newest_page_by_page(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = admin(stage)
    made = ask("POST", url=receiver.url).json()
    ids = [ask("POST", f"/{made['id']}/test").json()["id"] for _ in range(3)]

    listed = ask("GET", f"/{made['id']}/deliveries").json()
    rest = ask("GET", f"/{made['id']}/deliveries?after={ids[1]}").json()

    assert [each["id"] for each in listed["data"]] == ids[::-1]
    assert [each["id"] for each in rest["data"]] == ids[:1]


def test_each_change_is_in_the_audit_trail_without_path_or_secret(
    stage: Stage, receiver: Receiver
) -> None:
    ask = admin(stage)
    made = ask("POST", url=f"{receiver.url}/token-1234").json()
    ask("POST", f"/{made['id']}/rotate")
    ask("POST", f"/{made['id']}/enable")
    ask("DELETE", f"/{made['id']}")

    events = AuditEvent.objects.filter(target=made["id"]).order_by("id")
    assert [(event.org_id, event.action) for event in events] == [
        (stage.acme.org.pk, "webhook.create"),
        (stage.acme.org.pk, "webhook.rotate"),
        (stage.acme.org.pk, "webhook.delete"),
    ]
    assert all(event.actor.startswith("key ") for event in events)
    assert "token-1234" not in str([event.after for event in events])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "https://169.254.169.254/latest/"}, "url"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
    ({"url": "https://10.0.0.1/"}, "url"),
    ({"url": 7}, "url"),
    ({"kinds": []}, "url"),
    ({"url": "https://example.com/", "kinds": ["no.such"]}, "kinds"),
    ({"url": "https://example.com/", "kinds": ["topup.loss"]}, "kinds"),
    ({"url": "https://example.com/", "kinds": "balance.low"}, "kinds"),
    ({"url": "https://example.com/", "description": "x" * 201}, "description"),
    ({"url": "https://example.com/", "secret": "mine"}, "secret"),
]


@pytest.mark.parametrize(("body", "param"), REFUSED)
def test_what_cannot_be_an_endpoint_is_refused_by_its_field(
    stage: Stage, body: dict[str, Any], param: str
) -> None:
    before = WebhookEndpoint.objects.count()

    answer = admin(stage)("POST", **body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert WebhookEndpoint.objects.count() == before


def test_mallory_sees_changes_and_calls_nothing_of_acmes(stage: Stage, receiver: Receiver) -> None:
    made = admin(stage)("POST", url=receiver.url).json()
    delivery = admin(stage)("POST", f"/{made['id']}/test").json()
    mallory = Client(stage, admin_key(make_tenant("Mallory & Sons")))
    stored = WebhookEndpoint.objects.filter(public_id=made["id"])
    before, events = stored.values().get(), OutboxEvent.objects.count()

    answers = [
        mallory(method, f"/{made['id']}{path}")
        for method, path in (
            *(("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/enable")),
            *(("POST", "/test"), ("GET", "/deliveries")),
            ("POST", f"/deliveries/{delivery['id']}/resend"),
        )
    ]

    assert [answer.status_code for answer in answers] == [404] * 7
    assert mallory("GET").json()["data"] == []
    assert (stored.values().get(), OutboxEvent.objects.count()) == (before, events)


def test_a_project_key_opens_no_webhook_path(stage: Stage) -> None:
    answer = Client(stage, stage.acme.key_text)("GET")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_key_required")

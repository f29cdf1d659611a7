"""Events reach each endpoint that asked for them, signed, once, and again by the schedule."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.conf import LazySettings

from billing.models import Delivery, WebhookEndpoint
from billing.notices.dispatch import PAUSES, TRIES, fan_out
from billing.notices.endpoints import (
    EndpointSpec,
    create_endpoint,
    delete_endpoint,
    resend,
    rotate_secret,
    send_test,
)
from billing.notices.telling import tell
from kernel import clock
from tests.factories import ACTOR, make_tenant
from tests.fakes.receiver import Receiver
from tests.notices.conftest import Cast, listen, make_due, only_delivery, tries


def test_an_event_is_posted_signed_with_its_id_and_amounts_in_dollars(
    cast: Cast, receiver: Receiver
) -> None:
    made = listen(cast, receiver)
    event = cast.event()

    assert tell() == 1

    (posted,) = receiver.posted
    assert posted.json == {
        "type": "topup.paid",
        "timestamp": event.created_at.isoformat().replace("+00:00", "Z"),
        "data": {
            "organization": cast.acme.org.public_id,
            "topup": "top_1",
            "amount_usd": "25.00",
            "grant": 1,
        },
    }
    assert posted.event_id == event.public_id
    assert posted.headers["content-type"] == "application/json"
    sent_at = datetime.fromtimestamp(int(posted.headers["webhook-timestamp"]), UTC)
    assert clock.now() - sent_at < timedelta(minutes=5)
    assert posted.signed_by(made.secret)
    assert tries() == [(1, 200, "")]
    assert (only_delivery().state, tell(), len(receiver.posted)) == ("delivered", 0, 1)


def test_an_endpoint_hears_the_kinds_it_asked_for_and_only_its_organizations(
    cast: Cast, receiver: Receiver
) -> None:
    all_kinds, low = listen(cast, receiver), listen(cast, receiver, "balance.low")
    stranger = create_endpoint(cast.other.org, EndpointSpec(receiver.url), actor=ACTOR)
    operators = create_endpoint(None, EndpointSpec(receiver.url), actor=ACTOR)

    cast.event("topup.paid")
    cast.event("balance.low", balance_nanos="1", threshold_nanos="2")
    cast.event("topup.loss", topup="top_1", amount_nanos="5")
    tell()

    def heard(endpoint: WebhookEndpoint) -> list[str]:
        told = endpoint.deliveries.order_by("id").values_list("event__kind", flat=True)
        return list(told)

    assert heard(all_kinds.endpoint) == ["topup.paid", "balance.low"]
    assert heard(low.endpoint) == ["balance.low"]
    assert heard(stranger.endpoint) == []
    assert heard(operators.endpoint) == ["topup.loss"]
    assert len(receiver.posted) == 4


def test_a_failure_is_tried_again_by_the_schedule_with_the_same_id(
    cast: Cast, receiver: Receiver
) -> None:
    listen(cast, receiver)
    cast.event()
    receiver.answers = [500, 404, 302]

    waits = []
    for _ in range(4):
        make_due()
        tell()
        delivery = only_delivery()
        last = delivery.tries.latest("number")
        assert last.ended_at is not None
        waits.append(delivery.next_at - last.ended_at)

    assert waits[:3] == [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)]
    assert tries() == [
        (1, 500, "answered 500"),
        (2, 404, "answered 404"),
        (3, 302, "answered 302"),
        (4, 200, ""),
    ]
    assert {posted.event_id for posted in receiver.posted} == {delivery.event.public_id}
    assert {posted.body for posted in receiver.posted} == {receiver.posted[0].body}
    assert delivery.state == "delivered"


def test_a_delivery_is_given_up_after_the_last_try_and_may_be_sent_again_by_hand(
    cast: Cast, receiver: Receiver
) -> None:
    listen(cast, receiver)
    cast.event()
    receiver.answers = [500] * TRIES

    for _ in range(TRIES + 2):
        make_due()
        tell()

    assert len(PAUSES) == 9
    assert (only_delivery().state, len(receiver.posted)) == ("given_up", TRIES)
    resend(only_delivery())
    tell()
    assert (only_delivery().state, only_delivery().attempts) == ("delivered", TRIES + 1)
    assert len({posted.event_id for posted in receiver.posted}) == 1


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(307)
    handler.send_header("location", f"http://127.0.0.1:{handler.server.server_address[1]}/other")  # type: ignore[index] # a socket server
    handler.send_header("content-length", "0")
    handler.end_headers()


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(2**30))
    handler.end_headers()
    try:
        for _ in range(1024):
            handler.wfile.write(b"x" * 2**20)
    except OSError:
        return


def test_a_redirect_is_a_failure_and_not_followed(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    cast.event()
    receiver.answers = [redirect]

    tell()

    assert tries() == [(1, 307, "answered 307")]
    assert [posted.path for posted in receiver.posted] == ["/hooks"]


def test_an_endless_answer_is_not_read_to_its_end(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    cast.event()
    receiver.answers = [endless]

    tell()

    assert tries() == [(1, 200, "")]


def test_who_does_not_answer_is_left_after_the_deadline(
    cast: Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.notices.sending.DEADLINE_S", 0.5)
    listen(cast, receiver)
    cast.event()
    is_over = threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> None:
        is_over.wait(30)

    receiver.answers = [wait]

    tell()
    is_over.set()

    assert tries() == [(1, None, "no answer within 0.5 s")]


def test_one_that_fails_does_not_hold_up_the_others(cast: Cast, receiver: Receiver) -> None:
    gone = listen(cast, receiver)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    WebhookEndpoint.objects.filter(pk=gone.endpoint.pk).update(url=f"http://127.0.0.1:{port}/")
    unreadable = listen(cast, receiver)
    WebhookEndpoint.objects.filter(pk=unreadable.endpoint.pk).update(secret=b"not sealed")
    good = listen(cast, receiver)
    cast.event()

    tell()

    told = {each.endpoint_id: each.tries.get().error for each in Delivery.objects.all()}
    assert told == {
        gone.endpoint.pk: "no connection",
        unreadable.endpoint.pk: "the message cannot be written: UpstreamError",
        good.endpoint.pk: "",
    }


def test_a_name_that_leads_to_a_private_address_is_not_called(
    cast: Cast, receiver: Receiver, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_NETWORKS = []
    url = f"https://rebinding.example.com:{receiver.port}/hooks"
    create_endpoint(cast.acme.org, EndpointSpec(url), actor=ACTOR)
    cast.event()
    real = socket.getaddrinfo

    def rebind(host: Any, *others: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "rebinding.example.com" else host, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    tell()

    assert tries() == [(1, None, "the address may not be called")]
    assert receiver.posted == []


def test_a_network_that_is_named_no_more_is_not_called_any_more(
    cast: Cast, receiver: Receiver, settings: LazySettings
) -> None:
    listen(cast, receiver)
    settings.WEBHOOK_NETWORKS = []
    cast.event()

    tell()

    assert tries() == [(1, None, "the address may not be called")]
    assert receiver.posted == []


def test_while_secrets_overlap_both_sign_and_then_the_new_one_alone(
    cast: Cast, receiver: Receiver
) -> None:
    old = listen(cast, receiver)
    new = rotate_secret(old.endpoint, actor=ACTOR)
    cast.event()
    tell()
    WebhookEndpoint.objects.update(previous_until=clock.now())
    cast.event()
    tell()

    signed = [(p.signed_by(new.secret), p.signed_by(old.secret)) for p in receiver.posted]
    assert signed == [(True, True), (True, False)]


def test_secrets_are_sealed_where_they_are_stored(cast: Cast, receiver: Receiver) -> None:
    made = listen(cast, receiver)

    stored = bytes(WebhookEndpoint.objects.get().secret)

    assert made.secret.encode() not in stored
    assert made.secret.removeprefix("whsec_").encode() not in stored


def test_what_is_deleted_is_called_no_more(cast: Cast, receiver: Receiver) -> None:
    made = listen(cast, receiver)
    cast.event()
    fan_out()

    delete_endpoint(made.endpoint, actor=ACTOR)
    cast.event()

    assert (tell(), receiver.posted) == (0, [])


def test_a_test_goes_to_one_endpoint_only(cast: Cast, receiver: Receiver) -> None:
    first, _ = listen(cast, receiver, "topup.paid"), listen(cast, receiver)

    send_test(first.endpoint)
    tell()

    (posted,) = receiver.posted
    assert posted.json["type"] == "webhook.test"
    assert posted.signed_by(first.secret)


def test_an_organization_has_a_bounded_number_of_endpoints(
    cast: Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.notices.endpoints.MOST_ENDPOINTS", 2)
    listen(cast, receiver)
    listen(cast, receiver)

    with pytest.raises(Exception, match="2 endpoints at most"):
        listen(cast, receiver)

    assert make_tenant("Globex").org.pk
    assert WebhookEndpoint.objects.count() == 2

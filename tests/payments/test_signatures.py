"""An event is believed by its signature, and refused before it is read."""

from typing import Any

import pytest
from django.test import Client

from billing.models import (
    PaymentEvent,
)
from kernel import clock
from tests.fakes.stripe import (
    FakeStripe,
    event,
    session_paid,
    sign,
)
from tests.payments.conftest import Customer, asked, nothing_moved, tell


@pytest.mark.parametrize("secret", ["", "whsec_wrong"])
def test_an_event_under_another_secret_moves_nothing(
    database: str, acme: Customer, stripe: FakeStripe, secret: str
) -> None:
    body = session_paid("evt_1", asked(acme))

    said = tell(body, sign(body, secret=secret))

    assert said == (400, "invalid_signature")
    assert PaymentEvent.objects.count() == 0
    assert nothing_moved(acme)


def test_where_the_webhook_has_no_secret_an_event_signed_with_an_empty_one_moves_nothing(
    acme: Customer, stripe: FakeStripe, settings: Any
) -> None:
    body = session_paid("evt_1", asked(acme))
    settings.STRIPE_WEBHOOK_SECRET = ""

    said = tell(body, sign(body, secret=""))

    assert said == (400, "payments_off")
    assert PaymentEvent.objects.count() == 0
    assert nothing_moved(acme)


def test_every_other_fault_of_a_signature_is_refused_alike(
    acme: Customer, stripe: FakeStripe
) -> None:
    body = session_paid("evt_1", asked(acme))
    now, good = clock.now_s(), sign(body)
    hexes = good.partition("v1=")[2]
    bad = [
        "",
        f"t={now}",
        f"v1={hexes}",
        f"t={now},v0={hexes}",
        f"t={now},v1={hexes.upper()}",
        f"t={now},v1={hexes[:-1]}",
        f"t={now},v1=" + "ａ" * 64,
        f"t={now + 1},v1={hexes}",
        f"t={now},t={now},v1={hexes}",
        f"t=1e3,v1={hexes}",
        sign(body, at=now - 301),
        sign(body, at=now + 330),
        sign(body + b" "),
    ]

    assert [tell(body, signature) for signature in bad] == [(400, "invalid_signature")] * len(bad)
    assert PaymentEvent.objects.count() == 0
    assert nothing_moved(acme)


def test_one_good_signature_of_several_is_enough_while_a_secret_is_rolled(
    acme: Customer, stripe: FakeStripe
) -> None:
    body = session_paid("evt_1", asked(acme))
    signature = f"{sign(body).replace('v1=', f'v1={chr(48) * 64},v1=')},v0=other"

    assert tell(body, signature) == (200, "applied")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"id": "evt_1"}', b'{"id":1,"type":"x","data":{}}']
)
def test_a_signed_body_that_is_no_event_is_refused(
    acme: Customer, stripe: FakeStripe, body: bytes
) -> None:
    assert tell(body)[0] == 400
    assert nothing_moved(acme)


def test_a_body_beyond_its_bound_is_refused_before_it_is_read_as_an_event(
    acme: Customer, stripe: FakeStripe
) -> None:
    body = event("evt_1", "payment_intent.succeeded", {"padding": "x" * 262_144})

    assert tell(body) == (413, "request_too_large")


def test_only_a_post_is_answered(acme: Customer, stripe: FakeStripe) -> None:
    assert Client().get("/webhooks/stripe").status_code == 405

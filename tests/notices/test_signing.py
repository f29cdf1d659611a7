"""Signatures, by the reference vector of Standard Webhooks."""

import base64

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from billing.notices.signing import new_secret, render_signature
from kernel import clock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_reference_vector_is_signed_as_the_specification_says() -> None:
    signature = render_signature(
        [SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_libraries_of_receivers_accept_either_secret_while_two_sign() -> None:
    old, new, body = new_secret(), new_secret(), b'{"type":"webhook.test"}'
    at_s = clock.now_s()
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": render_signature([new, old], "evt_1", at_s, body),
    }

    assert [Webhook(key).verify(body, headers) for key in (old, new)] == [
        {"type": "webhook.test"},
    ] * 2
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


def test_each_secret_signs_the_newest_first() -> None:
    other = new_secret()

    both = render_signature([other, SECRET], "evt_1", 1, b"{}").split(" ")

    assert both == [render_signature([key], "evt_1", 1, b"{}") for key in (other, SECRET)]


def test_a_secret_is_32_random_bytes() -> None:
    first, second = new_secret(), new_secret()

    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32

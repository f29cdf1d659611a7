"""Signatures, by the reference vector of Standard Webhooks."""

import base64

from billing.notices.signing import new_secret, render_signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_reference_vector_is_signed_as_the_specification_says() -> None:
    signature = render_signature(
        [SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_signs_the_newest_first() -> None:
    other = new_secret()

    both = render_signature([other, SECRET], "evt_1", 1, b"{}").split(" ")

    assert both == [render_signature([key], "evt_1", 1, b"{}") for key in (other, SECRET)]


def test_a_secret_is_32_random_bytes() -> None:
    first, second = new_secret(), new_secret()

    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32

"""What the provider tells is believed by its signature, applied once, and only as it was asked."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection

from billing.models import (
    CreditGrant,
    OutboxEvent,
    PaymentEvent,
    TopUp,
)
from tests.books import assert_proven
from tests.conftest import Stores
from tests.fakes.stripe import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    FakeStripe,
    event,
    intent_paid,
    session_paid,
    sign,
)
from tests.payments.conftest import DOLLAR, Customer, asked, balance, nothing_moved, state, tell
from tests.servers import environment, free_port, running


def test_a_paid_checkout_becomes_credit_from_the_providers_cash(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)

    said = tell(session_paid("evt_1", top_up))

    grant = CreditGrant.objects.get()
    assert said == (200, "applied")
    assert (grant.kind, grant.source, grant.granted_nanos) == ("paid", "stripe", 25 * DOLLAR)
    assert (state(top_up), TopUp.objects.get().grant_id) == ("paid", grant.pk)
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert (balance("cash:stripe"), balance("deferred_revenue")) == (25 * DOLLAR, -25 * DOLLAR)
    assert OutboxEvent.objects.get(kind="topup.paid").org_id == acme.tenant.org.pk
    assert_proven(database)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("customer.created", {}),
        ("checkout.session.completed", {"payment_status": "unpaid"}),
        ("payment_intent.succeeded", {"object": "payment_intent", "id": "pi_9", "metadata": {}}),
        ("checkout.session.expired", {"metadata": None}),
    ],
)
def test_an_event_that_is_nothing_to_us_is_taken_and_ignored(
    acme: Customer, stripe: FakeStripe, kind: str, about: dict[str, Any]
) -> None:
    asked(acme)

    assert tell(event("evt_1", kind, about)) == (200, "ignored")
    assert PaymentEvent.objects.count() == 0
    assert nothing_moved(acme)


def test_an_event_told_again_and_the_payments_other_event_give_credit_once(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)
    bodies = [
        intent_paid("evt_2", top_up),
        session_paid("evt_1", top_up),
        session_paid("evt_1", top_up),
        intent_paid("evt_2", top_up),
    ]

    assert [tell(body) for body in bodies] == [(200, "applied")] * 4
    assert CreditGrant.objects.count() == 1
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


def test_twenty_tellings_at_once_of_two_events_give_credit_once(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)
    bodies = [intent_paid("evt_2", top_up), session_paid("evt_1", top_up)] * 10

    def told(body: bytes) -> tuple[int, str]:
        try:
            return tell(body)
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(told, bodies))

    assert said == [(200, "applied")] * 20
    assert CreditGrant.objects.count() == 1
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"amount_total": 2499}, "paid 24.99"),
        ({"amount_total": 2501}, "paid 25.01"),
        ({"amount_total": -2500}, "paid ?"),
        ({"amount_total": True}, "paid ?"),
        ({"amount_total": "2500"}, "paid ?"),
        ({"amount_total": 2500.0}, "paid ?"),
        ({"amount_total": 18446744073709551616}, "paid ?"),
        ({"amount_total": None}, "paid ?"),
        ({"currency": "eur"}, "paid in eur"),
        ({"currency": None}, "paid in no currency"),
        ({"payment_intent": None}, "the payment has no id"),
    ],
)
def test_a_payment_that_is_not_what_was_asked_is_quarantined_and_grants_nothing(
    acme: Customer, stripe: FakeStripe, other: dict[str, Any], why: str
) -> None:
    top_up = asked(acme)

    said = tell(session_paid("evt_1", top_up, **other))

    assert said == (200, "quarantined")
    assert (state(top_up), TopUp.objects.get().failure) == ("quarantined", why)
    told = OutboxEvent.objects.get(kind="topup.quarantined")
    assert told.payload == {"event": "evt_1", "topup": top_up, "why": why}
    assert nothing_moved(acme)
    assert tell(session_paid("evt_2", top_up)) == (200, "quarantined"), "it waits for a person"
    assert nothing_moved(acme)


def test_a_payment_of_a_top_up_nobody_knows_is_quarantined(
    acme: Customer, stripe: FakeStripe
) -> None:
    assert tell(session_paid("evt_1", "topup_unknown")) == (200, "quarantined")
    assert PaymentEvent.objects.get().why == "there is no such top-up"
    assert nothing_moved(acme)


def test_a_top_up_paid_a_second_time_grants_once_and_is_told(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)
    tell(session_paid("evt_1", top_up))

    assert tell(session_paid("evt_2", top_up, intent="pi_2")) == (200, "quarantined")
    assert (state(top_up), CreditGrant.objects.count()) == ("paid", 1)
    assert_proven(database)


def test_failed_and_expired_close_a_top_up_and_late_money_is_credit_after_all(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    failed, expired, declined = asked(acme), asked(acme), asked(acme)
    kinds = ("checkout.session.async_payment_failed", "checkout.session.expired")
    for kind, top_up in zip(kinds, (failed, expired), strict=True):
        tell(event(f"evt_{top_up}", kind, {"metadata": {"top_up": top_up}}))
    about = {"object": "payment_intent", "id": "pi_9", "metadata": {"top_up": declined}}
    tell(event("evt_9", "payment_intent.payment_failed", about))

    closed = [state(failed), state(expired), state(declined)]
    paid = tell(session_paid("evt_1", expired))
    tell(event("evt_8", kinds[1], {"metadata": {"top_up": expired}}))

    assert closed == ["failed", "expired", "open"], "a declined card may be followed by another"
    assert (paid, state(expired)) == ((200, "applied"), "paid")
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


def test_a_web_process_takes_events_over_http(
    stores: Stores, acme: Customer, stripe: FakeStripe, tmp_path: Path
) -> None:
    top_up = asked(acme)
    body = session_paid("evt_1", top_up)
    port = free_port()
    env = environment(
        DATABASE_URL=stores.database_url,
        REDIS_URL=stores.redis_url,
        DATA_DIR=str(tmp_path),
        SERVE="web",
        STRIPE_SECRET_KEY=SECRET_KEY,
        STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port)]

    with running(
        [*command, "config.asgi:application"], port, env, tmp_path, ready="/healthz"
    ) as web:
        address = f"{web.url}/webhooks/stripe"
        forged = requests.post(address, body, headers={"stripe-signature": "t=1,v1=0"}, timeout=30)
        told = [
            requests.post(address, body, headers={"stripe-signature": sign(body)}, timeout=30)
            for _ in range(2)
        ]

    assert (forged.status_code, [answer.status_code for answer in told]) == (400, [200, 200])
    assert "set-cookie" not in told[0].headers
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(stores.database_url)

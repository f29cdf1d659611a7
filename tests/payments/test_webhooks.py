"""What the provider tells is believed by its signature, applied once, and only as it was asked."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection
from django.test import Client

from accounts.models import AuditEvent
from billing.models import (
    CreditGrant,
    LedgerEntry,
    LedgerTransaction,
    OutboxEvent,
    PaymentEvent,
    TopUp,
)
from kernel import clock
from tests.books import assert_proven, run_tick, settlement
from tests.conftest import Stores
from tests.factories import hold_request, make_price
from tests.fakes.stripe import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    FakeStripe,
    disputed,
    event,
    intent_paid,
    refunded,
    session_paid,
    sign,
)
from tests.payments.conftest import Customer, tell
from tests.servers import environment, free_port, running

DOLLAR = 1_000_000_000


def asked(customer: Customer) -> str:
    """Ask for a top-up of 25 dollars; its id."""
    answer = customer.post("topups", {"amount": "25.00"})
    assert answer.status_code == 200, answer.json()
    return str(answer.json()["id"])


def state(top_up: str) -> str:
    return TopUp.objects.get(public_id=top_up).state


def balance(code: str) -> int:
    entries = LedgerEntry.objects.filter(account__code=code)
    return sum(entry.amount_nanos for entry in entries)


def nothing_moved(customer: Customer) -> bool:
    return (
        CreditGrant.objects.count() == LedgerTransaction.objects.count() == 0
        and customer.tenant.account.deferred_nanos == 0
    )


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


def use(database: str, acme: Customer, dollars: int) -> None:
    version, price = make_price("m", output_usd="1000000")
    request = hold_request(acme.tenant, version, dollars * DOLLAR)
    run_tick(database, holds=[request])
    closing = settlement(request.request_id, price, input_tokens=0, output_tokens=dollars)
    run_tick(database, closings=[closing])


def test_a_refund_takes_back_what_is_free_and_what_was_used_is_the_platforms_loss(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)
    tell(session_paid("evt_1", top_up))
    use(database, acme, 10)

    said = [tell(refunded("evt_2", 2500)), tell(refunded("evt_2", 2500))]

    grant = CreditGrant.objects.get()
    assert said == [(200, "applied")] * 2
    assert (grant.voided_nanos, grant.remaining_nanos) == (15 * DOLLAR, 0)
    assert acme.tenant.account.deferred_nanos == 0
    assert (balance("cash:stripe"), balance("platform_loss")) == (0, 10 * DOLLAR)
    assert AuditEvent.objects.get(action="topup.loss").after == {
        "amount_usd": "10.000000000",
        "reason": f"payment of {top_up} was given back",
    }
    assert OutboxEvent.objects.filter(kind="topup.loss").count() == 1
    assert_proven(database)


def test_a_part_refunded_takes_back_that_part_whatever_the_order_of_the_tellings(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))

    for event_id, cents in (("evt_2", 700), ("evt_3", 500), ("evt_4", 900)):
        tell(refunded(event_id, cents))

    assert CreditGrant.objects.get().voided_nanos == 9 * DOLLAR
    assert TopUp.objects.get().returned_nanos == 9 * DOLLAR
    assert balance("cash:stripe") == 16 * DOLLAR
    assert_proven(database)


def test_a_dispute_takes_back_and_never_more_than_was_paid(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))
    tell(refunded("evt_2", 1000))

    tell(disputed("evt_3", 2500))
    tell(disputed("evt_4", 2500))

    assert CreditGrant.objects.get().voided_nanos == 25 * DOLLAR
    assert (balance("cash:stripe"), balance("platform_loss")) == (0, 0)
    assert_proven(database)


def test_money_given_back_before_its_payment_is_told_is_taken_back_with_it(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)

    early = [tell(disputed("evt_1", 2500)), tell(disputed("evt_1", 2500))]
    tell(session_paid("evt_2", top_up))

    assert early == [(200, "waiting")] * 2
    assert (state(top_up), TopUp.objects.get().returned_nanos) == ("paid", 25 * DOLLAR)
    assert acme.tenant.account.deferred_nanos == 0
    assert PaymentEvent.objects.get(pk="evt_1").outcome == "applied"
    assert_proven(database)


def test_a_refund_in_another_currency_takes_nothing_and_is_told(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))

    assert tell(refunded("evt_2", 2500, currency="jpy")) == (200, "quarantined")
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

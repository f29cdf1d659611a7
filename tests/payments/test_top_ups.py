"""A customer asks for a top-up: bounds, tenants, and a provider that does not answer."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key, revoke_key
from accounts.models import AuditEvent
from billing.models import CreditGrant, SavedCard, TopUp
from billing.payments.codes import CodeSpec, create_code
from billing.payments.top_ups import MOST_OPEN, expire_checkouts
from gateway.demo import seed_catalog
from kernel import clock
from tests.books import assert_proven
from tests.commands.manage import Here, here
from tests.conftest import Stores
from tests.factories import ACTOR
from tests.fakes.stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe, intent_paid, session_paid
from tests.payments.conftest import Customer, tell
from tests.servers import running_api

__all__ = ["here"]


def test_a_top_up_is_asked_for_and_leads_to_the_providers_page(
    acme: Customer, stripe: FakeStripe
) -> None:
    answer = acme.post("topups", {"amount": "25.00"})

    top_up = TopUp.objects.get()
    assert answer.json() == {
        "object": "topup",
        "id": top_up.public_id,
        "amount": "25.00",
        "currency": "usd",
        "source": "checkout",
        "status": "open",
        "checkout_url": "https://checkout.example/c/pay/cs_1",
        "failure": None,
        "returned": "0.00",
        "created_at": int(top_up.created_at.timestamp()),
        "closed_at": None,
    }
    (asked,) = stripe.asked
    assert (asked.method, asked.path) == ("POST", "/v1/checkout/sessions")
    assert (asked.idem_key, asked.authorization) == (top_up.public_id, f"Bearer {SECRET_KEY}")
    assert asked.form["client_reference_id"] == acme.tenant.org.public_id
    assert asked.form["metadata[top_up]"] == top_up.public_id
    assert asked.form["payment_intent_data[metadata][top_up]"] == top_up.public_id
    assert asked.form["line_items[0][price_data][unit_amount]"] == "2500"
    assert asked.form["line_items[0][price_data][currency]"] == "usd"
    assert "customer_creation" not in asked.form
    assert AuditEvent.objects.get(action="topup.start").actor.startswith("key ")
    assert CreditGrant.objects.count() == 0


def test_top_ups_are_listed_newest_first_and_read_one_by_one(
    acme: Customer, stripe: FakeStripe
) -> None:
    first, second = (acme.post("topups", {"amount": "5"}).json() for _ in range(2))

    assert acme.get("topups").json() == {
        "object": "list",
        "data": [second, first],
        "has_more": False,
    }
    assert acme.get(f"topups?after={second['id']}").json()["data"] == [first]
    assert acme.get(f"topups/{first['id']}").json() == first


@pytest.mark.parametrize(
    "amount",
    [
        *("4.99", "10000.01", "5.001", "-25.00", "0", "1e3", "１２", " 7\n", "1_000", "+7", "NaN"),
        *("Infinity", "1e999", "18446744073709551616", "", None, True, 25, 25.0, [], {"usd": "7"}),
    ],
)
def test_an_amount_out_of_bounds_or_form_is_refused_and_nothing_is_asked(
    acme: Customer, stripe: FakeStripe, amount: Any
) -> None:
    answer = acme.post("topups", {"amount": amount})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "amount")
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    assert (TopUp.objects.count(), stripe.asked) == (0, [])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "amount"),
        (b'{"amount": "7", "currency": "jpy"}', "currency"),
        (b'{"amount": "7", "save_card": "yes"}', "save_card"),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_a_body_that_is_no_top_up_is_refused(
    acme: Customer, stripe: FakeStripe, body: bytes, param: str | None
) -> None:
    answer = acme.post("topups", body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (TopUp.objects.count(), stripe.asked) == (0, [])


def test_nobody_but_the_organizations_admin_keys_sees_or_makes_top_ups(
    acme: Customer, other: Customer, stripe: FakeStripe
) -> None:
    top_up = acme.post("topups", {"amount": "25.00"}).json()
    revoked = mint_key(acme.tenant.project, KeySpec(kind="admin"), actor=ACTOR)
    revoke_key(revoked.key, actor=ACTOR)

    for key, status in ((acme.tenant.key_text, 403), (revoked.text, 401), ("hk-admin-x", 401)):
        assert acme.post("topups", {"amount": "25.00"}, key=key).status_code == status
        assert acme.get("topups", key=key).status_code == status
        assert acme.get(f"topups/{top_up['id']}", key=key).status_code == status
    assert other.get(f"topups/{top_up['id']}").status_code == 404
    assert other.get(f"topups?after={top_up['id']}").status_code == 404
    assert other.get("topups").json()["data"] == []
    assert TopUp.objects.count() == 1


def test_where_payments_are_off_every_door_says_so(acme: Customer) -> None:
    said = acme.post("topups", {"amount": "25.00"})

    assert (said.status_code, said.json()["error"]["code"]) == (400, "payments_off")
    assert "switched off" in said.json()["error"]["message"]
    assert tell(b"{}") == (400, "payments_off")
    assert acme.get("topups").json()["data"] == []
    assert TopUp.objects.count() == 0


@pytest.mark.parametrize("fault", ["fail", "cut", "busy", "refuse"])
def test_a_provider_that_does_not_answer_closes_the_top_up_and_a_new_one_may_be_asked(
    acme: Customer, stripe: FakeStripe, fault: str
) -> None:
    stripe.script.append(fault)

    refused = acme.post("topups", {"amount": "25.00"})
    again = acme.post("topups", {"amount": "25.00"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_error")
    assert SECRET_KEY not in refused.content.decode()
    assert again.status_code == 200
    assert [t.state for t in TopUp.objects.order_by("id")] == ["failed", "open"]


def test_too_many_open_top_ups_are_refused(acme: Customer, stripe: FakeStripe) -> None:
    for _ in range(MOST_OPEN):
        assert acme.post("topups", {"amount": "25.00"}).status_code == 200

    refused = acme.post("topups", {"amount": "25.00"})

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert (TopUp.objects.count(), len(stripe.asked)) == (MOST_OPEN, MOST_OPEN)


def test_a_checkout_nobody_paid_expires_after_a_day(acme: Customer, stripe: FakeStripe) -> None:
    old, new = (acme.post("topups", {"amount": "25.00"}).json()["id"] for _ in range(2))
    TopUp.objects.filter(public_id=old).update(created_at=clock.now() - timedelta(hours=26))

    assert (expire_checkouts(), expire_checkouts()) == (1, 0)

    assert TopUp.objects.get(public_id=old).state == "expired"
    assert TopUp.objects.get(public_id=new).state == "open"


def test_an_api_process_serves_all_of_it_over_http(
    stores: Stores, acme: Customer, stripe: FakeStripe, tmp_path: Path
) -> None:
    code = create_code(CodeSpec(5_000_000_000, "a fair"), actor=ACTOR).text
    headers = {"authorization": f"Bearer {acme.key}"}
    seed_catalog(test_models=False)

    with running_api(
        stores.database_url,
        stores.redis_url,
        tmp_path,
        DEBUG="1",  # for the address of the fake
        STRIPE_SECRET_KEY=SECRET_KEY,
        STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        STRIPE_API_URL=stripe.url,
    ) as api:

        def ask(method: str, path: str, body: Any = None) -> requests.Response:
            address = f"{api.url}/v1/organization/{path}"
            return requests.request(method, address, json=body, headers=headers, timeout=30)

        made = ask("POST", "topups", {"amount": "25.00"})
        read = ask("GET", f"topups/{made.json()['id']}/")
        redeemed = ask("POST", "codes/redeem", {"code": code})
        auto = ask("POST", "auto_topup", {"threshold": "1", "amount": "5", "monthly_cap": "5"})
        ended = ask("DELETE", "auto_topup")
        too_large = ask("POST", "topups", {"amount": "x" * 70_000})
        anonymous = requests.post(f"{api.url}/api/v1/organization/topups", json={}, timeout=30)

    assert read.json() == made.json()
    assert made.json()["checkout_url"] == "https://checkout.example/c/pay/cs_1"
    assert (redeemed.status_code, auto.json()["error"]["code"]) == (200, "no_saved_card")
    assert (ended.json()["active"], too_large.status_code, anonymous.status_code) == (
        False,
        413,
        401,
    )
    assert acme.tenant.account.promotional_nanos == 5_000_000_000
    assert_proven(stores.database_url)


def test_operators_list_top_ups_and_look_after_the_quarantine(
    acme: Customer, stripe: FakeStripe, here: Here
) -> None:
    org = acme.tenant.org.public_id
    top_up = acme.post("topups", {"amount": "25.00"}).json()["id"]
    tell(session_paid("evt_1", top_up, amount_total=1))

    (listed,) = here("topup", "list", "--org", org, "--json").json
    (held,) = here("topup", "quarantine", "--json").json
    silent = here.refused("topup", "dismiss", top_up, "--reason", " ")
    dismissed = here("topup", "dismiss", top_up, "--reason", "sent back", "--json").json
    again = here.refused("topup", "dismiss", top_up, "--reason", "sent back")

    assert (listed["state"], listed["amount_usd"], listed["failure"]) == (
        "quarantined",
        "25.00",
        "paid 0.01",
    )
    assert (held["event"], held["topup"], held["why"]) == ("evt_1", top_up, "paid 0.01")
    assert silent == "Say why the top-up is dismissed."
    assert dismissed["state"] == "failed"
    assert again == f"{top_up!r} is not in quarantine."
    assert AuditEvent.objects.get(action="topup.dismiss").after == {
        "why": "paid 0.01",
        "reason": "sent back",
    }
    assert CreditGrant.objects.count() == 0


def test_operators_set_and_end_an_auto_top_up(
    acme: Customer, stripe: FakeStripe, here: Here
) -> None:
    org = acme.tenant.org.public_id
    flags = ("--threshold", "10", "--amount", "25", "--monthly-cap", "60", "--cool-down", "2h")

    no_card = here.refused("topup", "auto", org, *flags)
    nothing = here.refused("topup", "auto-end", org)
    SavedCard.objects.create(org=acme.tenant.org, customer="cus_1", payment_method="pm_1")
    made = here("topup", "auto", org, *flags, "--json").json
    ended = here("topup", "auto-end", org, "--json").json

    assert no_card == "No card is saved; pay a top-up with save_card first."
    assert nothing == "The organization has no auto top-up."
    assert made == {
        "org": org,
        "active": True,
        "threshold_usd": "10.00",
        "amount_usd": "25.00",
        "monthly_cap_usd": "60.00",
        "cool_down_s": 7200,
        "failures": 0,
    }
    assert ended == {**made, "active": False}


def test_a_card_is_saved_when_the_payer_said_so_whichever_event_comes_first(
    acme: Customer, stripe: FakeStripe
) -> None:
    unsaved = acme.post("topups", {"amount": "25.00"}).json()["id"]
    tell(intent_paid("evt_1", unsaved))
    before = SavedCard.objects.count()
    saved = acme.post("topups", {"amount": "25.00", "save_card": True}).json()["id"]

    tell(session_paid("evt_2", saved, intent="pi_2"))
    tell(intent_paid("evt_3", saved, intent="pi_2"))

    card = SavedCard.objects.get()
    assert before == 0
    assert (card.org_id, card.customer, card.payment_method) == (
        acme.tenant.org.pk,
        "cus_1",
        "pm_1",
    )
    assert stripe.asked[1].form["payment_intent_data[setup_future_usage]"] == "off_session"

"""Who may switch the auto top-up on, with what, and who reads it."""

from typing import Any

import pytest

from accounts.models import AuditEvent
from billing.models import AutoTopUp, SavedCard
from billing.payments.auto import top_up_where_due
from billing.tasks import top_up as task
from tests.fakes.stripe import FakeStripe
from tests.payments.conftest import WANTED, Customer, watch


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"amount": "4.99"}, "amount"),
        ({"amount": "25.001"}, "amount"),
        ({"amount": "-25"}, "amount"),
        ({"threshold": "0"}, "threshold"),
        ({"threshold": "1e3"}, "threshold"),
        ({"monthly_cap": "24.99"}, "monthly_cap"),
        ({"cool_down_s": 59}, "cool_down_s"),
        ({"cool_down_s": True}, "cool_down_s"),
        ({"cool_down_s": "3600"}, "cool_down_s"),
        ({"card": "pm_1"}, "card"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_switched_on(
    acme: Customer, stripe: FakeStripe, wanted: dict[str, Any], param: str
) -> None:
    SavedCard.objects.create(org=acme.tenant.org, customer="cus_1", payment_method="pm_1")

    answer = acme.post("auto_topup", {**WANTED, **wanted})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert AutoTopUp.objects.count() == 0


def test_it_needs_a_saved_card_and_a_provider(
    acme: Customer, stripe: FakeStripe, settings: Any
) -> None:
    no_card = acme.post("auto_topup", WANTED)
    settings.STRIPE_SECRET_KEY = ""
    off = acme.post("auto_topup", WANTED)

    assert (no_card.status_code, no_card.json()["error"]["code"]) == (409, "no_saved_card")
    assert (off.status_code, off.json()["error"]["code"]) == (400, "payments_off")
    assert (AutoTopUp.objects.count(), top_up_where_due()) == (0, 0)


def test_it_is_read_and_ended_by_its_own_organization_only(
    acme: Customer, other: Customer, stripe: FakeStripe
) -> None:
    watch(acme)

    strangers = other.delete("auto_topup").json()
    seen = acme.get("auto_topup").json()
    member = acme.delete("auto_topup", key=acme.tenant.key_text).status_code
    ended = acme.delete("auto_topup").json()

    assert strangers == {"object": "auto_topup", "active": False}
    assert seen == {
        "object": "auto_topup",
        "active": True,
        **WANTED,
        "cool_down_s": 3600,
        "failures": 0,
    }
    assert (member, ended["active"], task()) == (403, False, 0)
    assert AuditEvent.objects.filter(action="auto_topup.end").count() == 1

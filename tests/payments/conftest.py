"""Payments switched on, before a fake of the provider; a customer with an admin key."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from accounts.keys import KeySpec, mint_key
from billing.models import CreditGrant, LedgerEntry, LedgerTransaction, SavedCard, TopUp
from tests.factories import ACTOR, Tenant, make_tenant
from tests.fakes.stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe, running_stripe, sign

DOLLAR = 1_000_000_000
WANTED = {"threshold": "10.00", "amount": "25.00", "monthly_cap": "60.00"}


@pytest.fixture
def stripe(settings: Any) -> Iterator[FakeStripe]:
    """Payments are on; the settings are put back afterwards."""
    with running_stripe() as fake:
        settings.STRIPE_SECRET_KEY = SECRET_KEY
        settings.STRIPE_WEBHOOK_SECRET = WEBHOOK_SECRET
        settings.STRIPE_API_URL = fake.url
        yield fake


@dataclass(frozen=True)
class Customer:
    """A tenant that asks with an admin key."""

    tenant: Tenant
    key: str

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        return Client().post(
            f"/v1/organization/{path}",
            body if isinstance(body, bytes) else body or {},
            content_type="application/json",
            headers=self._headers(key),
        )

    def get(self, path: str, *, key: str | None = None) -> Any:
        return Client().get(f"/v1/organization/{path}", headers=self._headers(key))

    def delete(self, path: str, *, key: str | None = None) -> Any:
        return Client().delete(f"/v1/organization/{path}", headers=self._headers(key))

    def _headers(self, key: str | None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key if key is None else key}"}


def make_customer(name: str = "Acme") -> Customer:
    tenant = make_tenant(name, credit_usd="0")
    key = mint_key(tenant.project, KeySpec(kind="admin", name="admin"), actor=ACTOR)
    return Customer(tenant, key.text)


@pytest.fixture
def acme(database: str, settings: Any) -> Customer:
    """Alice's organization, asking the customers' API."""
    settings.ROOT_URLCONF = "tests.payments.urls"
    return make_customer()


@pytest.fixture
def other(acme: Customer) -> Customer:
    """Mallory's."""
    return make_customer("Mallory & Sons")


def tell(body: bytes, signature: str | None = None) -> tuple[int, str]:
    """Post an event to the webhook, signed unless told otherwise; its status and outcome."""
    answer = Client().post(
        "/webhooks/stripe",
        body,
        content_type="application/json",
        headers={"stripe-signature": sign(body) if signature is None else signature},
    )
    said = answer.json()
    return answer.status_code, said["outcome"] if "outcome" in said else said["error"]["code"]


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


def watch(customer: Customer, **other: Any) -> None:
    """Save a card and switch the auto top-up on."""
    SavedCard.objects.create(org=customer.tenant.org, customer="cus_1", payment_method="pm_1")
    answer = customer.post("auto_topup", {**WANTED, **other})
    assert answer.status_code == 200, answer.json()

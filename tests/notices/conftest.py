"""The cast of telling: Acme with Alice, who owns it, and Bob, who looks; Mallory beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from django.conf import LazySettings

from accounts.models import Member, User
from billing.models import Delivery, DeliveryAttempt, OutboxEvent
from billing.notices.dispatch import Claim, claim
from billing.notices.endpoints import EndpointSpec, MadeEndpoint, create_endpoint
from billing.organizations import add_member
from kernel import clock
from tests.factories import ACTOR, Tenant, make_tenant
from tests.fakes.receiver import Receiver, running_receiver

LOOPBACK = [ip_network("127.0.0.0/8")]


@dataclass(frozen=True)
class Cast:
    database_url: str
    acme: Tenant
    other: Tenant

    def event(self, kind: str = "topup.paid", **payload: object) -> OutboxEvent:
        told = payload or {"topup": "top_1", "amount_nanos": "25000000000", "grant": 1}
        event = OutboxEvent.objects.create(org=self.acme.org, kind=kind, payload=told)
        event.refresh_from_db()
        return event


def make_member(tenant: Tenant, email: str, role: str) -> User:
    user = User.objects.create_user(email)
    add_member(tenant.org, user, role, actor=ACTOR)
    return user


@pytest.fixture
def cast(database: str) -> Cast:
    acme = make_tenant("Acme", timezone="Europe/Berlin")
    other = make_tenant("Mallory & Sons")
    make_member(acme, "alice@example.com", Member.Role.OWNER)
    make_member(acme, "bob@example.com", Member.Role.VIEWER)
    make_member(other, "mallory@example.com", Member.Role.OWNER)
    return Cast(database, acme, other)


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    """A receiver on loopback, which the platform may call here."""
    settings.WEBHOOK_NETWORKS = LOOPBACK
    with running_receiver() as running:
        yield running


def listen(cast: Cast, receiver: Receiver, *kinds: str) -> MadeEndpoint:
    return create_endpoint(cast.acme.org, EndpointSpec(receiver.url, kinds), actor=ACTOR)


def make_due() -> None:
    Delivery.objects.filter(state="due").update(next_at=clock.now())


def only_delivery() -> Delivery:
    return Delivery.objects.exclude(endpoint=None).get()


def tries() -> list[tuple[int, int | None, str]]:
    rows = DeliveryAttempt.objects.order_by("id")
    return [(each.number, each.status, each.error) for each in rows]


def claim_one() -> Claim:
    first = Delivery.objects.filter(state="due").order_by("id")[0]
    Delivery.objects.filter(pk=first.pk).update(next_at=clock.now())
    (claimed,) = claim()
    return claimed

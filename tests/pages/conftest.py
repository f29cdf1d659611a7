"""The cast: Alice owns Acme, Bob only looks at it, Mallory of another house must see nothing."""

from dataclasses import dataclass

import pytest
from django.test import Client

from accounts.models import Member, User
from billing.organizations import add_member
from gateway.demo import seed_catalog
from tests.factories import ACTOR, Tenant, make_tenant

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Cast:
    database_url: str
    acme: Tenant
    other: Tenant
    alice: User
    bob: User
    mallory: User

    def signed_in(self, user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client


def make_member(tenant: Tenant, email: str, role: str) -> User:
    user = User.objects.create_user(email, PASSWORD)
    add_member(tenant.org, user, role, actor=ACTOR)
    return user


@pytest.fixture
def cast(database: str) -> Cast:
    seed_catalog(test_models=False)
    acme = make_tenant("Acme", timezone="Europe/Berlin")
    other = make_tenant("Mallory & Sons")
    return Cast(
        database,
        acme,
        other,
        alice=make_member(acme, "alice@example.com", Member.Role.OWNER),
        bob=make_member(acme, "bob@example.com", Member.Role.VIEWER),
        mallory=make_member(other, "mallory@example.com", Member.Role.OWNER),
    )

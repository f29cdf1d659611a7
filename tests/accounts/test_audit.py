"""The audit trail: in the change's own transaction, append-only, without secrets."""

import json

import pytest
from django.db import Error, connection, transaction

from accounts.key_format import parse_key
from accounts.keys import KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import ApiKey, AuditEvent, Member, User
from billing.organizations import add_member
from tests.factories import make_tenant


def test_each_change_of_a_key_says_who_what_and_which(database: str) -> None:
    acme = make_tenant()
    before = AuditEvent.objects.count()

    minted = mint_key(acme.project, KeySpec(name="laptop"), actor="alice@example.com")
    first = minted.key.masked
    rotated = rotate_key(minted.key, actor="alice@example.com")
    revoke_key(minted.key, actor="bob@example.com")

    events = AuditEvent.objects.order_by("id")[before:]
    assert [(e.org_id, e.actor, e.action, e.target) for e in events] == [
        (acme.org.pk, "alice@example.com", "key.create", first),
        (acme.org.pk, "alice@example.com", "key.rotate", rotated.key.masked),
        (acme.org.pk, "bob@example.com", "key.revoke", rotated.key.masked),
    ]
    assert events[0].after == {"name": "laptop"}


def test_a_change_that_is_rolled_back_leaves_no_event(database: str) -> None:
    acme = make_tenant()
    before = (ApiKey.objects.count(), AuditEvent.objects.count())

    with transaction.atomic():
        mint_key(acme.project, KeySpec(), actor="cli")
        transaction.set_rollback(True)

    assert (ApiKey.objects.count(), AuditEvent.objects.count()) == before


def test_a_change_whose_event_cannot_be_written_does_not_happen(database: str) -> None:
    acme = make_tenant()
    before = ApiKey.objects.count()

    with pytest.raises(Error):
        mint_key(acme.project, KeySpec(), actor="x" * 201)  # longer than the column

    assert ApiKey.objects.count() == before


def test_revoking_twice_is_one_event(database: str) -> None:
    acme = make_tenant()

    revoke_key(acme.key, actor="cli")
    revoke_key(acme.key, actor="cli")

    assert AuditEvent.objects.filter(action="key.revoke").count() == 1


def test_only_masked_keys_are_in_the_trail(database: str) -> None:
    acme = make_tenant()
    rotated = rotate_key(acme.key, actor="cli").text
    revoke_key(acme.key, actor="cli")

    trail = json.dumps(list(AuditEvent.objects.values()), default=str)

    for text in (acme.key_text, rotated):
        presented = parse_key(text)
        assert presented is not None
        assert presented.public_id in trail
        assert presented.secret not in trail
        assert text[-10:] not in trail


def test_a_member_who_is_there_already_is_no_change(database: str) -> None:
    acme = make_tenant()
    bob = User.objects.create_user("bob@example.com")

    add_member(acme.org, bob, Member.Role.VIEWER, actor="cli")
    add_member(acme.org, bob, Member.Role.OWNER, actor="cli")

    assert Member.objects.get(user=bob).role == "viewer"
    assert AuditEvent.objects.filter(action="member.add").count() == 1


@pytest.mark.parametrize(
    "change",
    [
        "update accounts_auditevent set actor = 'mallory@example.com'",
        "delete from accounts_auditevent",
        "truncate accounts_auditevent",
    ],
)
def test_the_database_refuses_to_change_the_trail(database: str, change: str) -> None:
    make_tenant()
    before = list(AuditEvent.objects.order_by("id").values())

    with pytest.raises(Error, match="append-only"), transaction.atomic():
        connection.cursor().execute(change)

    assert list(AuditEvent.objects.order_by("id").values()) == before

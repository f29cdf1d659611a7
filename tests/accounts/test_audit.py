"""The audit trail: in the change's own transaction, append-only, without secrets."""

import itertools
import json
import threading
from importlib import import_module
from typing import LiteralString

import psycopg
import pytest
from django.db import Error, connection, transaction

from accounts.audit import record_change
from accounts.key_format import parse_key
from accounts.keys import KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import NO_HASH, ApiKey, AuditChain, AuditEvent, Member, User
from billing.database import connect_sync
from billing.organizations import add_member
from billing.proof import prove
from tests.books import NOWHERE, assert_proven
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


def chains() -> dict[int | None, list[AuditEvent]]:
    found: dict[int | None, list[AuditEvent]] = {}
    for event in AuditEvent.objects.order_by("id"):
        found.setdefault(event.org_id, []).append(event)
    return found


def make_changes() -> None:
    acme = make_tenant()
    make_tenant("Globex")
    for number in (1, 2):
        record_change(None, "operator@example.com", "model.create", f"m-{number}")
        record_change(acme.org.pk, "alice@example.com", "key.limits", "k", before={"rpm": number})


def broken(database: str) -> dict[str, list[list[str]]]:
    with connect_sync(database, "proof", statement_timeout_ms=60_000) as proving:
        findings = prove(proving, NOWHERE).findings
    return {f.number: [list(row) for row in f.rows] for f in findings if f.rows}


def test_every_event_of_an_organization_names_the_one_before_it(database: str) -> None:
    make_changes()

    found = chains()

    assert [len(chain) for chain in found.values()] == [5, 3, 2]
    for org_id, chain in found.items():
        assert bytes(chain[0].prev_hash) == NO_HASH
        for before, after in itertools.pairwise(chain):
            assert bytes(after.prev_hash) == bytes(before.hash) != NO_HASH
        assert bytes(AuditChain.objects.get(scope=org_id or 0).head) == bytes(chain[-1].hash)
    assert_proven(database)


FIRST: LiteralString = "(select min(id) from accounts_auditevent where org_id is null)"
LAST: LiteralString = "(select max(id) from accounts_auditevent where org_id is null)"
TAMPERING: dict[str, tuple[LiteralString, set[str]]] = {
    "another actor": (
        "update accounts_auditevent set actor = 'bob@example.com' where id = LAST",
        {"I25c"},
    ),
    "another value before": (
        "update accounts_auditevent set before = '{\"rpm\": 3}' where before is not null",
        {"I25c"},
    ),
    "what was before said to be after": (
        "update accounts_auditevent set before = null, after = before where before is not null",
        {"I25c"},
    ),
    "another time": (
        "update accounts_auditevent set at = at + interval '1 microsecond' where id = FIRST",
        {"I25c"},
    ),
    "another organization": (
        (
            "update accounts_auditevent set org_id = (select min(org_id) from accounts_auditevent)"
            " where id = LAST"
        ),
        {"I25c", "I25d"},
    ),
    "a hash made to fit": (
        (
            "update accounts_auditevent e set actor = 'x' where id = FIRST;"
            " update accounts_auditevent e set hash = audit_digest(e) where id = FIRST"
        ),
        {"I25c"},
    ),
    "the first one removed": ("delete from accounts_auditevent where id = FIRST", {"I25c"}),
    "the last one removed": ("delete from accounts_auditevent where id = LAST", {"I25d"}),
    "all of them removed": ("delete from accounts_auditevent where org_id is null", {"I25d"}),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_with_the_trail_is_named_by_the_proof(database: str, what: str) -> None:
    make_changes()
    statement, expected = TAMPERING[what]
    statement = statement.replace("FIRST", FIRST).replace("LAST", LAST)

    with psycopg.connect(database) as owner:
        owner.execute("set session_replication_role = replica")
        for part in statement.split(";"):
            owner.execute(part)

    assert broken(database).keys() == expected


def test_events_of_one_organization_at_once_are_one_chain(database: str) -> None:
    acme = make_tenant()

    def record_ten() -> None:
        for number in range(10):
            record_change(acme.org.pk, "alice@example.com", "key.limits", str(number))
        connection.close()

    threads = [threading.Thread(target=record_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert AuditEvent.objects.filter(action="key.limits").count() == 40
    assert_proven(database)


def test_a_trail_from_before_the_chain_is_chained_as_it_stands(database: str) -> None:
    make_changes()
    before = AuditEvent.objects.order_by("id").values("id", "actor", "action", "at")
    told = list(before)
    with psycopg.connect(database) as owner:
        owner.execute("set session_replication_role = replica")
        owner.execute(
            "update accounts_auditevent set prev_hash = %s, hash = %s", (NO_HASH, NO_HASH)
        )
        owner.execute("delete from accounts_auditchain")

    with connection.cursor() as cursor:
        cursor.execute(import_module("accounts.migrations.0003_audit_chain").BACKFILL)

    assert list(before.all()) == told
    assert broken(database) == {}
    with pytest.raises(Error, match="append-only"), transaction.atomic():
        connection.cursor().execute("delete from accounts_auditevent")
    record_change(None, "cli", "model.create", "m-3")
    assert broken(database) == {}

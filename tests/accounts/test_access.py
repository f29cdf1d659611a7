"""The doors to tenant rows: Alice owns Acme, Bob looks at it, Mallory must see nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from accounts.access import (
    access_key,
    access_keys,
    access_membership,
    access_project,
    access_projects,
    operator_key,
    operator_org,
    operator_project,
)
from accounts.keys import KeySpec, mint_key
from accounts.models import Member, Project, User
from billing.organizations import add_member
from kernel import clock
from kernel.errors import NotFoundError
from tests.factories import Tenant, make_tenant


@dataclass(frozen=True)
class Cast:
    acme: Tenant
    other: Tenant
    alice: Member
    bob: Member
    mallory: Member


@pytest.fixture
def cast(database: str) -> Cast:
    acme, other = make_tenant(), make_tenant("Other")

    def member(email: str, tenant: Tenant, role: str) -> Member:
        return add_member(tenant.org, User.objects.create_user(email), role, actor="test")

    return Cast(
        acme,
        other,
        member("alice@example.com", acme, Member.Role.OWNER),
        member("bob@example.com", acme, Member.Role.VIEWER),
        member("mallory@example.com", other, Member.Role.OWNER),
    )


def refusal(reach: Callable[[], object]) -> str:
    with pytest.raises(NotFoundError) as refused:
        reach()
    return f"{refused.value.http_status} {refused.value.code} {refused.value.message}"


def test_a_member_sees_their_organization_by_name_and_as_their_first(cast: Cast) -> None:
    alice = cast.alice.user

    assert access_membership(alice, cast.acme.org.public_id) == cast.alice
    assert access_membership(alice) == cast.alice


def test_a_stranger_cannot_tell_anothers_organization_from_none(cast: Cast) -> None:
    mallory = cast.mallory.user

    theirs = refusal(lambda: access_membership(mallory, cast.acme.org.public_id))
    nobodys = refusal(lambda: access_membership(mallory, "org_000000000000"))

    assert theirs == nobodys == "404 not_found No such organization."


def test_a_person_without_an_organization_has_none(cast: Cast) -> None:
    nobody = User.objects.create_user("nobody@example.com")

    assert refusal(lambda: access_membership(nobody)) == "404 not_found No such organization."


def test_a_stranger_sees_no_key_and_cannot_tell_it_from_none(cast: Cast) -> None:
    assert cast.acme.key not in access_keys(cast.mallory)
    assert list(access_keys(cast.mallory)) == [cast.other.key]

    theirs = refusal(lambda: access_key(cast.mallory, cast.acme.key.public_id))
    changing = refusal(lambda: access_key(cast.mallory, cast.acme.key.public_id, to_change=True))
    nobodys = refusal(lambda: access_key(cast.mallory, "0" * 12))

    assert theirs == changing == nobodys == "404 not_found No such key."


def test_a_viewer_sees_keys_and_may_not_change_them(cast: Cast) -> None:
    assert access_key(cast.bob, cast.acme.key.public_id) == cast.acme.key
    assert (
        refusal(lambda: access_key(cast.bob, cast.acme.key.public_id, to_change=True))
        == "404 not_found No such key."
    )


@pytest.mark.parametrize(
    ("role", "may"),
    [("owner", True), ("admin", True), ("developer", True), ("billing", False), ("viewer", False)],
)
def test_owners_admins_and_developers_change_keys(cast: Cast, role: str, *, may: bool) -> None:
    cast.bob.role = role

    if may:
        assert access_key(cast.bob, cast.acme.key.public_id, to_change=True) == cast.acme.key
    else:
        refusal(lambda: access_key(cast.bob, cast.acme.key.public_id, to_change=True))


def test_keys_come_newest_first(cast: Cast) -> None:
    newer = mint_key(cast.acme.project, KeySpec(), actor="test").key

    assert list(access_keys(cast.alice)) == [newer, cast.acme.key]


def test_a_stranger_sees_no_project_and_an_archived_one_is_gone_for_all(cast: Cast) -> None:
    project = cast.acme.project
    assert access_project(cast.alice, project.public_id) == project
    assert list(access_projects(cast.mallory)) == [cast.other.project]
    theirs = refusal(lambda: access_project(cast.mallory, project.public_id))

    project.archived_at = clock.now()
    project.save()

    assert refusal(lambda: access_project(cast.alice, project.public_id)) == theirs
    assert list(access_projects(cast.alice)) == []


def test_operators_reach_every_organization_and_key(cast: Cast) -> None:
    key = cast.acme.key

    assert operator_org(cast.acme.org.public_id) == cast.acme.org
    assert operator_key(key.public_id) == key
    assert operator_key(cast.acme.key_text) == key
    assert operator_key(key.masked) == key


def test_an_operators_project_is_found_or_made_within_the_organization(cast: Cast) -> None:
    org = cast.acme.org

    assert operator_project(org, None) == cast.acme.project
    assert operator_project(org, cast.acme.project.public_id) == cast.acme.project
    made = operator_project(org, "chatbot")

    assert (made.org, made.name) == (org, "chatbot")
    assert operator_project(org, "chatbot") == made
    assert Project.objects.filter(org=org).count() == 2


def test_an_operator_who_mixes_up_organizations_is_told_so(cast: Cast) -> None:
    mixed = refusal(lambda: operator_project(cast.acme.org, cast.other.project.public_id))

    assert mixed == f"404 not_found There is no project {cast.other.project.public_id!r}."

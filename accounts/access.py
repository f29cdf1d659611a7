"""The only doors to tenant rows: fetching one *is* the permission check.

Every function raises NotFoundError for what does not exist and for what the caller may not see, so
that a stranger cannot tell the two apart.
"""

from collections.abc import Sequence

from django.db.models import QuerySet

from accounts.models import ApiKey, Member, Organization, Project, User
from kernel.errors import NotFoundError

KEY_MINTERS: Sequence[str] = (Member.Role.OWNER, Member.Role.ADMIN, Member.Role.DEVELOPER)


def access_membership(user: User, org_public_id: str | None = None) -> Member:
    """Return the person's membership of an organization; of their first one when none is named."""
    memberships = Member.objects.select_related("org").filter(user=user).order_by("id")
    if org_public_id is not None:
        memberships = memberships.filter(org__public_id=org_public_id)
    member = memberships.first()
    if member is None:
        raise NotFoundError("No such organization.", code="not_found")
    return member


def access_organizations(user: User) -> QuerySet[Organization]:
    """Return the organizations a person is a member of, by name."""
    return Organization.objects.filter(members__user=user).order_by("name")


def access_keys(member: Member) -> QuerySet[ApiKey]:
    """Return the keys a member may see, newest first."""
    return (
        ApiKey.objects.filter(org_id=member.org_id)
        .select_related("project")
        .order_by("-created_at", "-id")
    )


def access_key(member: Member, public_id: str, *, to_change: bool = False) -> ApiKey:
    """Return one key; ``to_change`` asks for a role that may change keys."""
    if to_change and member.role not in KEY_MINTERS:
        raise NotFoundError("No such key.", code="not_found")
    key = access_keys(member).filter(public_id=public_id).first()
    if key is None:
        raise NotFoundError("No such key.", code="not_found")
    return key


def access_project(member: Member, public_id: str) -> Project:
    """Return one live project of the member's organization."""
    project = Project.objects.filter(
        org_id=member.org_id, public_id=public_id, archived_at=None
    ).first()
    if project is None:
        raise NotFoundError("No such project.", code="not_found")
    return project


def access_projects(member: Member) -> QuerySet[Project]:
    return Project.objects.filter(org_id=member.org_id, archived_at=None).order_by("id")


def operator_org(identifier: str) -> Organization:
    """Return any organization by its public id, for the platform's own operators."""
    org = Organization.objects.filter(public_id=identifier).first()
    if org is None:
        raise NotFoundError(f"There is no organization {identifier!r}.", code="not_found")
    return org


def operator_key(identifier: str) -> ApiKey:
    """Return any key by its 12-character public id or a whole key's text, for operators."""
    parts = identifier.split("-")
    public_id = parts[-1][:12]
    key = ApiKey.objects.filter(public_id=public_id).select_related("project", "org").first()
    if key is None:
        raise NotFoundError(f"There is no key {public_id!r}.", code="not_found")
    return key


def operator_project_by_id(identifier: str) -> Project:
    """Return any project by its public id, for operators."""
    project = Project.objects.select_related("org").filter(public_id=identifier).first()
    if project is None:
        raise NotFoundError(f"There is no project {identifier!r}.", code="not_found")
    return project


def operator_project(org: Organization, name_or_id: str | None) -> Project:
    """Return an organization's project by id or name, made when the name is new; else its first."""
    if name_or_id is None:
        first = Project.objects.filter(org=org, archived_at=None).order_by("id").first()
        return first or Project.objects.create(org=org, name="Default")
    if name_or_id.startswith("proj_"):
        project = Project.objects.filter(org=org, public_id=name_or_id).first()
        if project is None:
            raise NotFoundError(f"There is no project {name_or_id!r}.", code="not_found")
        return project
    return Project.objects.get_or_create(org=org, name=name_or_id)[0]

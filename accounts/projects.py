"""Projects: parts of an organization that spend."""

from django.db import transaction

from accounts.audit import record_change
from accounts.models import Organization, Project
from kernel.errors import BadRequestError, ConflictError

MOST_NAME = 120


def create_project(org: Organization, name: str, *, actor: str) -> Project:
    """Open a project of an organization.

    Raises:
        BadRequestError: for an empty or endless name; ConflictError: for one in use.

    """
    name = name.strip()
    if not name or len(name) > MOST_NAME:
        raise BadRequestError("Give the project a name of 1 to 120 characters.", param="name")
    with transaction.atomic():
        project, is_new = Project.objects.get_or_create(org=org, name=name)
        if not is_new:
            raise ConflictError(f"There is a project {name!r} already.", code="name_in_use")
        record_change(org.pk, actor, "project.create", project.public_id, after={"name": name})
    return project

"""Changing the rate limits of a key, a project or an organization, audited and announced.

Running processes see a change within a second. No changes change nothing.
"""

from collections.abc import Mapping
from typing import TypeVar

from django.db import models, transaction

from accounts.audit import record_change
from accounts.key_news import announce_key_change, announce_org_change
from accounts.models import ApiKey, Organization, Project

LIMITS = ("rpm", "rpd", "tpm", "concurrency")
Changes = Mapping[str, int | None]
Limited = TypeVar("Limited", bound=models.Model)


def limit_key(key: ApiKey, changes: Changes, *, actor: str) -> ApiKey:
    """Change a key's own limits."""
    if not changes:
        return key
    with transaction.atomic():
        key, before = change_limits(key, changes)
        record_change(key.org_id, actor, "key.limits", key.masked, before=before, after=changes)
        transaction.on_commit(lambda: announce_key_change(key.public_id))
    return key


def limit_project(project: Project, changes: Changes, *, actor: str) -> Project:
    """Change the limits of all calls of a project together."""
    if not changes:
        return project
    with transaction.atomic():
        project, before = change_limits(project, changes)
        name = project.public_id
        record_change(project.org_id, actor, "project.limits", name, before=before, after=changes)
        org_public_id = project.org.public_id
        transaction.on_commit(lambda: announce_org_change(org_public_id))
    return project


def limit_org(org: Organization, changes: Changes, *, actor: str) -> Organization:
    """Change the limits of all calls of an organization together."""
    if not changes:
        return org
    with transaction.atomic():
        org, before = change_limits(org, changes)
        record_change(org.pk, actor, "org.limits", org.public_id, before=before, after=changes)
        transaction.on_commit(lambda: announce_org_change(org.public_id))
    return org


def change_limits(row: Limited, changes: Changes) -> tuple[Limited, dict[str, int | None]]:
    """Write the named limits to the locked row; return it and what they were before."""
    rows = type(row)._default_manager  # noqa: SLF001 # Django's documented name
    locked = rows.select_for_update().get(pk=row.pk)
    before = {name: getattr(locked, name) for name in changes}
    for name, limit in changes.items():
        setattr(locked, name, limit)
    locked.save(update_fields=[*changes])
    return locked, before

"""Opening an organization: the tenant, its first project, its money accounts, its first credit."""

from dataclasses import dataclass
from zoneinfo import available_timezones

from django.db import transaction

from accounts.audit import record_change
from accounts.models import Member, Organization, Project, User
from billing.credits import add_credit, open_billing_account
from billing.models import BillingAccount
from kernel.errors import BadRequestError


@dataclass(frozen=True, slots=True)
class OrganizationSpec:
    """What to open. Amounts in nanos; ``credit_nanos`` of None gives none."""

    name: str
    mode: str = BillingAccount.Mode.PREPAID
    timezone: str = "UTC"
    credit_limit_nanos: int = 0
    credit_nanos: int | None = None


def create_organization(spec: OrganizationSpec, *, actor: str) -> Organization:
    """Open an organization in one transaction.

    Raises:
        BadRequestError: for an empty name, an unknown time zone or mode.

    """
    if not spec.name.strip() or len(spec.name) > 120:  # noqa: PLR2004 # the column's width
        raise BadRequestError("Give the organization a name of 1 to 120 characters.", param="name")
    if spec.timezone not in available_timezones():
        raise BadRequestError(
            f"{spec.timezone!r} is not a time zone; write one like Europe/Berlin.", param="timezone"
        )
    with transaction.atomic():
        org = Organization.objects.create(name=spec.name.strip(), timezone=spec.timezone)
        Project.objects.create(org=org, name="Default")
        open_billing_account(org, mode=spec.mode, credit_limit_nanos=spec.credit_limit_nanos)
        record_change(org.pk, actor, "org.create", org.public_id, after={"name": org.name})
        if spec.credit_nanos:
            add_credit(org, spec.credit_nanos, reason="opening credit", actor=actor)
    return org


def add_member(org: Organization, user: User, role: str, *, actor: str) -> Member:
    """Make a person a member; an existing member keeps their role."""
    with transaction.atomic():
        member, is_new = Member.objects.get_or_create(org=org, user=user, defaults={"role": role})
        if is_new:
            record_change(org.pk, actor, "member.add", user.email, after={"role": role})
    return member

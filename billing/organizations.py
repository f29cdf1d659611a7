"""Opening an organization: the tenant, its first project, its money accounts, its first credit."""

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import available_timezones

from django.conf import settings
from django.db import transaction

from accounts.audit import record_change
from accounts.models import Member, Organization, Project, User
from billing.credits import add_credit, open_billing_account
from billing.grants import GrantSpec, database_time, grant_credit
from billing.models import BillingAccount, CreditGrant
from kernel.errors import BadRequestError

TRIAL_LASTS = timedelta(days=30)


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
        if settings.TRIAL_GRANT_NANOS:
            grant_credit(org, _trial(settings.TRIAL_GRANT_NANOS), actor=actor)
    return org


def _trial(nanos: int) -> GrantSpec:
    """Return the credit that every new organization is given to try with."""
    return GrantSpec(
        nanos,
        "trial credit",
        "trial",
        kind=CreditGrant.Kind.PROMOTIONAL,
        source=CreditGrant.Source.TRIAL,
        expires_at=database_time() + TRIAL_LASTS,
    )


def add_member(org: Organization, user: User, role: str, *, actor: str) -> Member:
    """Make a person a member; an existing member keeps their role."""
    with transaction.atomic():
        member, is_new = Member.objects.get_or_create(org=org, user=user, defaults={"role": role})
        if is_new:
            record_change(org.pk, actor, "member.add", user.email, after={"role": role})
    return member

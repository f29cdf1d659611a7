"""Who is calling: people, organizations, projects, keys, and what was changed by whom."""

from typing import Any, ClassVar
from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from kernel import clock
from kernel.ids import new_id, random_base62

NO_HASH = bytes(32)


def check_timezone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(f"{name!r} is not a time zone of the IANA database.")


def limits_at_least_one(what: str) -> models.CheckConstraint:
    """Return the constraint of a row with rate limits: null is no limit, and none is zero."""
    return models.CheckConstraint(
        condition=models.Q(rpm__gte=1, rpd__gte=1, tpm__gte=1, concurrency__gte=1),
        name=f"{what}_limits_at_least_one",
        violation_error_message="A rate limit is at least 1; leave it empty for none.",
    )


def new_org_id() -> str:
    return new_id("org")


def new_project_id() -> str:
    return new_id("proj")


def new_key_id() -> str:
    return random_base62(12)


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by e-mail address. ``is_staff`` marks the platform's operators."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=clock.now)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    def __str__(self) -> str:
        return self.email


class Organization(models.Model):
    """A tenant. Every tenant row carries its id. Rate limits: all its keys' calls together."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    public_id = models.CharField(max_length=40, unique=True, default=new_org_id, editable=False)
    name = models.CharField(max_length=120)
    timezone = models.CharField(max_length=64, default="UTC", validators=[check_timezone])
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.ACTIVE)
    rpm = models.PositiveBigIntegerField(null=True, blank=True)
    rpd = models.PositiveBigIntegerField(null=True, blank=True)
    tpm = models.PositiveBigIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [limits_at_least_one("organization")]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """A person's role in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        BILLING = "billing"
        DEVELOPER = "developer"
        VIEWER = "viewer"

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="members")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.DEVELOPER)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "user"], name="member_once_per_org"),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"


class Project(models.Model):
    """A part of an organization that spends: archived, never deleted.

    Rate limits: the calls of all its keys together.
    """

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="projects")
    public_id = models.CharField(max_length=40, unique=True, default=new_project_id, editable=False)
    name = models.CharField(max_length=120)
    archived_at = models.DateTimeField(null=True, blank=True)
    rpm = models.PositiveBigIntegerField(null=True, blank=True)
    rpd = models.PositiveBigIntegerField(null=True, blank=True)
    tpm = models.PositiveBigIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "name"], name="project_name_once_per_org"),
            limits_at_least_one("project"),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key's public part and the HMAC of its secret, which itself is kept nowhere.

    A rotation moves ``secret_hmac`` to ``previous_hmac``, which stays good until
    ``previous_until``.
    """

    class Kind(models.TextChoices):
        PROJECT = "proj"
        SERVICE_ACCOUNT = "svcacct"
        ADMIN = "admin"

    public_id = models.CharField(max_length=12, unique=True, default=new_key_id, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="api_keys")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PROJECT)
    name = models.CharField(max_length=120, blank=True)
    secret_hmac = models.BinaryField(editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    previous_hmac = models.BinaryField(null=True, editable=False)
    previous_pepper_version = models.PositiveSmallIntegerField(null=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    allowed_models = ArrayField(models.CharField(max_length=200), null=True, blank=True)
    allowed_networks = ArrayField(models.CharField(max_length=43), null=True, blank=True)
    rpm = models.PositiveBigIntegerField(null=True, blank=True)
    rpd = models.PositiveBigIntegerField(null=True, blank=True)
    tpm = models.PositiveBigIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [limits_at_least_one("key")]

    def __str__(self) -> str:
        return self.masked

    @property
    def masked(self) -> str:
        """The key as it may be shown: prefix, public id, last four characters."""
        return f"hk-{self.kind}-{self.public_id}…{self.last_four}"


class AuditEvent(models.Model):
    """Who changed what. Append-only: the database refuses UPDATE, DELETE and TRUNCATE.

    A trigger chains every event to the one before it of its organization, or of the platform.
    """

    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT)
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=80)
    target = models.CharField(max_length=200)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    address = models.GenericIPAddressField(null=True)
    at = models.DateTimeField(default=clock.now)
    prev_hash = models.BinaryField(max_length=32, default=NO_HASH)
    hash = models.BinaryField(max_length=32, default=NO_HASH)

    class Meta:
        indexes = [models.Index(fields=["org", "-at"], name="audit_by_org")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class AuditChain(models.Model):
    """The end of an organization's chain of audit events; ``scope`` 0 is the platform's own.

    The row is the chain's lock, taken last of all locks and held until the change commits.
    """

    scope = models.BigIntegerField(primary_key=True)
    head = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return f"audit chain {self.scope}"

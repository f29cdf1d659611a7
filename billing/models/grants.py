"""Credit an organization was granted, and what burned it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F

from accounts.models import Organization
from billing.models.ledger import LedgerTransaction
from kernel import clock


class CreditGrant(models.Model):
    """Credit with a place in the burn order, a scope and a time.

    Free is ``granted - consumed - expired - voided - held``. ``allowed_models`` None pays for
    every model. ``cost_basis_nanos`` is what was paid for it. Lower ``priority`` burns first. The
    counters are moved by the tick and by ``billing.grants``.
    """

    class Kind(models.TextChoices):
        PAID = "paid"
        PROMOTIONAL = "promotional"

    class Source(models.TextChoices):
        OPENING = "opening"
        MANUAL = "manual"
        TRIAL = "trial"
        CODE = "code"
        STRIPE = "stripe"
        CORRECTION = "correction"

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="credit_grants")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    source = models.CharField(max_length=12, choices=Source.choices)
    priority = models.SmallIntegerField(default=100)
    allowed_models = ArrayField(models.CharField(max_length=200), null=True, blank=True)
    effective_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    granted_nanos = models.BigIntegerField()
    consumed_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    expired_nanos = models.BigIntegerField(default=0)
    voided_nanos = models.BigIntegerField(default=0)
    cost_basis_nanos = models.BigIntegerField(default=0)
    reason = models.CharField(max_length=400, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    txn = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT)
    is_open = models.GeneratedField(
        expression=models.Q(  # type: ignore[arg-type] # a Q is an expression to Django
            granted_nanos__gt=F("consumed_nanos") + F("expired_nanos") + F("voided_nanos")
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    granted_nanos__gt=0,
                    consumed_nanos__gte=0,
                    held_nanos__gte=0,
                    expired_nanos__gte=0,
                    voided_nanos__gte=0,
                    granted_nanos__gte=F("consumed_nanos")
                    + F("held_nanos")
                    + F("expired_nanos")
                    + F("voided_nanos"),
                ),
                name="credit_grant_covers_what_it_paid",
            ),
            models.CheckConstraint(
                condition=models.Q(expires_at=None) | models.Q(expires_at__gt=F("effective_at")),
                name="credit_grant_ends_after_it_begins",
            ),
        ]
        indexes = [
            models.Index(
                fields=["org"], condition=models.Q(is_open=True), name="grant_open_by_org"
            ),
            models.Index(
                fields=["expires_at"], condition=models.Q(is_open=True), name="grant_open_by_expiry"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} credit {self.pk}"

    @property
    def remaining_nanos(self) -> int:
        return self.granted_nanos - self.consumed_nanos - self.expired_nanos - self.voided_nanos


class GrantBurn(models.Model):
    """What one call burned of a grant, or got back by its reversal (negative). Append-only."""

    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="burns")
    txn = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, db_index=False)
    request_id = models.CharField(max_length=40)
    amount_nanos = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount_nanos=0), name="grant_burn_not_zero"),
        ]
        indexes = [models.Index(fields=["request_id"], name="burn_by_request")]

    def __str__(self) -> str:
        return f"{self.request_id} of {self.grant_id}"

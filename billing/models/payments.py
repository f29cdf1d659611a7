"""Ways for credit to come in: top-ups and what was told of them, codes, and approvals."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from accounts.models import Organization
from billing.models.grants import CreditGrant
from kernel import clock
from kernel.ids import new_id
from kernel.money import NANOS_PER_CENT


def new_top_up_id() -> str:
    return new_id("topup")


def new_code_id() -> str:
    return new_id("code")


def new_approval_id() -> str:
    return new_id("appr")


class TopUp(models.Model):
    """Credit an organization wants to pay for. Its id is the idempotency key at the provider.

    ``open`` → ``paid`` | ``failed`` | ``expired`` | ``quarantined``. Money that comes after all
    makes ``failed`` and ``expired`` ``paid``; nothing but a person leaves ``quarantined``.
    ``returned_nanos`` is what refunds and disputes have taken back so far.
    """

    class State(models.TextChoices):
        OPEN = "open"
        PAID = "paid"
        FAILED = "failed"
        EXPIRED = "expired"
        QUARANTINED = "quarantined"

    class Source(models.TextChoices):
        CHECKOUT = "checkout"
        AUTO = "auto"

    public_id = models.CharField(max_length=40, unique=True, default=new_top_up_id, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="top_ups")
    source = models.CharField(max_length=12, choices=Source.choices)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    amount_nanos = models.BigIntegerField()
    saves_card = models.BooleanField(default=False)
    customer = models.CharField(max_length=120, blank=True)
    payment_method = models.CharField(max_length=120, blank=True)
    checkout_id = models.CharField(max_length=120, blank=True)
    checkout_url = models.TextField(blank=True)
    payment_intent = models.CharField(max_length=120, blank=True)
    grant = models.OneToOneField(CreditGrant, null=True, on_delete=models.PROTECT)
    returned_nanos = models.BigIntegerField(default=0)
    failure = models.CharField(max_length=200, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    asked_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_nanos__gte=NANOS_PER_CENT)
                & Q(returned_nanos__gte=0, returned_nanos__lte=F("amount_nanos")),
                name="top_up_amounts",
            ),
            models.CheckConstraint(
                condition=Q(state="paid", grant__isnull=False)
                | Q(grant__isnull=True, returned_nanos=0) & ~Q(state="paid"),
                name="top_up_paid_has_its_grant",
            ),
            models.UniqueConstraint(
                fields=["payment_intent"], condition=~Q(payment_intent=""), name="top_up_by_intent"
            ),
            models.UniqueConstraint(
                fields=["org"],
                condition=Q(source="auto", state="open"),
                name="top_up_one_auto_at_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["org", "-id"], name="top_up_by_org"),
            models.Index(fields=["id"], condition=Q(state="open"), name="top_up_open"),
        ]

    def __str__(self) -> str:
        return self.public_id


class PaymentEvent(models.Model):
    """One event the payment provider told, kept so that it is applied once. Ignored ones are not.

    ``waiting`` is money taken back from a payment that is not known yet.
    """

    class Outcome(models.TextChoices):
        APPLIED = "applied"
        WAITING = "waiting"
        QUARANTINED = "quarantined"

    event_id = models.CharField(max_length=120, primary_key=True)
    kind = models.CharField(max_length=12)
    outcome = models.CharField(max_length=12, choices=Outcome.choices)
    why = models.CharField(max_length=200, blank=True)
    top_up = models.ForeignKey(TopUp, null=True, on_delete=models.PROTECT, related_name="events")
    payment_intent = models.CharField(max_length=120, blank=True)
    amount_nanos = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=8, blank=True)
    received_at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [models.Index(fields=["payment_intent"], name="payment_event_by_intent")]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"


class SavedCard(models.Model):
    """The provider's names of a payment method that may be charged without its owner there."""

    org = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.PROTECT, related_name="saved_card"
    )
    customer = models.CharField(max_length=120)
    payment_method = models.CharField(max_length=120)
    saved_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return f"card of {self.org}"


class AutoTopUp(models.Model):
    """When an organization's balance is topped up by itself: beneath what, by how much, how often.

    ``next_at`` is the end of the cool-down; ``failures`` counts those in a row.
    """

    org = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.PROTECT, related_name="auto_top_up"
    )
    is_active = models.BooleanField(default=True)
    threshold_nanos = models.BigIntegerField()
    amount_nanos = models.BigIntegerField()
    monthly_cap_nanos = models.BigIntegerField()
    cool_down_s = models.PositiveIntegerField(default=3600)
    next_at = models.DateTimeField(default=clock.now)
    failures = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    threshold_nanos__gt=0,
                    amount_nanos__gte=NANOS_PER_CENT,
                    monthly_cap_nanos__gte=F("amount_nanos"),
                    cool_down_s__gte=60,
                ),
                name="auto_top_up_amounts",
            ),
        ]

    def __str__(self) -> str:
        return f"auto top-up of {self.org}"


class RedeemCode(models.Model):
    """A code that gives credit. Only the hash of its text is kept."""

    public_id = models.CharField(max_length=40, unique=True, default=new_code_id, editable=False)
    code_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    last_four = models.CharField(max_length=4)
    kind = models.CharField(max_length=12, choices=CreditGrant.Kind.choices)
    amount_nanos = models.BigIntegerField()
    allowed_models = ArrayField(models.CharField(max_length=200), null=True, blank=True)
    grant_lasts_s = models.PositiveIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    most_redemptions = models.PositiveIntegerField(default=1)
    redemptions = models.PositiveIntegerField(default=0)
    revoked_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=400)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    amount_nanos__gt=0,
                    most_redemptions__gte=1,
                    redemptions__lte=F("most_redemptions"),
                ),
                name="redeem_code_amounts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} (…{self.last_four})"


class CodeRedemption(models.Model):
    """A code redeemed by an organization, once."""

    code = models.ForeignKey(RedeemCode, on_delete=models.PROTECT, related_name="redeemed")
    org = models.ForeignKey(Organization, on_delete=models.PROTECT)
    grant = models.OneToOneField(CreditGrant, on_delete=models.PROTECT)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "org"], name="code_once_per_org"),
        ]

    def __str__(self) -> str:
        return f"{self.code} by {self.org}"


class CodeFailure(models.Model):
    """A code an organization tried that is none: counted for an hour, to stop guessing."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [models.Index(fields=["org", "at"], name="code_failure_by_org")]

    def __str__(self) -> str:
        return f"{self.org} at {self.at}"


class Approval(models.Model):
    """What one person asked for and another must approve. ``kind`` says who carries it out."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"

    public_id = models.CharField(max_length=40, unique=True, default=new_approval_id)
    kind = models.CharField(max_length=20)
    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT)
    summary = models.CharField(max_length=400)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    requested_by = models.CharField(max_length=200)
    requested_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="pending", decided_by="")
                | ~Q(state="pending") & ~Q(decided_by="") & ~Q(decided_by=F("requested_by")),
                name="approval_by_somebody_else",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.summary}"

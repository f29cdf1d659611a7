"""Telling: who is told of which event, when it is tried next, and how every try went."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import Organization
from billing.models.outbox import OutboxEvent
from kernel import clock
from kernel.ids import new_id


def new_endpoint_id() -> str:
    return new_id("we")


def new_delivery_id() -> str:
    return new_id("del")


class WebhookEndpoint(models.Model):
    """An address that events of an organization are posted to; the operators' where it has none.

    ``kinds`` empty is every kind. Secrets are sealed; the previous one signs too until
    ``previous_until``. ``failing_since`` is the first failure since the last success. A deleted
    endpoint stays, for its deliveries' sake, and is not seen any more.
    """

    public_id = models.CharField(max_length=40, unique=True, default=new_endpoint_id)
    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT)
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    kinds = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    secret = models.BinaryField()
    previous_secret = models.BinaryField(null=True)
    previous_until = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=clock.now)
    failing_since = models.DateTimeField(null=True)
    disabled_at = models.DateTimeField(null=True)
    disabled_why = models.CharField(max_length=200, blank=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["org"], condition=models.Q(deleted_at=None), name="webhook_live_by_org"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class Delivery(models.Model):
    """One event for one recipient: an endpoint or a person's address.

    Due until it is delivered or given up; sent again by hand it is due again, and
    ``earlier_attempts`` is how many attempts came before that.
    """

    class State(models.TextChoices):
        DUE = "due"
        DELIVERED = "delivered"
        GIVEN_UP = "given_up"

    public_id = models.CharField(max_length=40, unique=True, default=new_delivery_id)
    event = models.ForeignKey(OutboxEvent, on_delete=models.PROTECT, related_name="deliveries")
    endpoint = models.ForeignKey(
        WebhookEndpoint, null=True, on_delete=models.PROTECT, related_name="deliveries"
    )
    email = models.EmailField(blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DUE)
    attempts = models.SmallIntegerField(default=0)
    earlier_attempts = models.SmallIntegerField(default=0)
    next_at = models.DateTimeField(default=clock.now)
    created_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(endpoint=None) ^ models.Q(email=""), name="delivery_one_target"
            ),
            models.UniqueConstraint(
                fields=["event", "endpoint"], name="delivery_once_per_endpoint"
            ),
            models.UniqueConstraint(
                fields=["event", "email"],
                condition=~models.Q(email=""),
                name="delivery_once_per_address",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at"], condition=models.Q(state="due"), name="delivery_due_by_time"
            ),
            models.Index(fields=["endpoint", "-id"], name="delivery_by_endpoint"),
        ]

    def __str__(self) -> str:
        return self.public_id


class DeliveryAttempt(models.Model):
    """One try, written before it is made. Without ``ended_at`` its process died, or still tries."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    number = models.SmallIntegerField()
    started_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True)
    duration_ms = models.IntegerField(null=True)
    status = models.SmallIntegerField(null=True)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once_per_number"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}"

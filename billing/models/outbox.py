"""What happened and must be told: written in the transaction that made it happen."""

from django.contrib.postgres.functions import RandomUUID
from django.db import models

from accounts.models import Organization
from kernel import clock


class OutboxEvent(models.Model):
    """One event of an organization, or of the platform where it has none.

    Amounts in ``payload`` are decimal strings of nanos, under names that end in ``_nanos``.
    ``dispatched_at`` is when its deliveries were written.
    """

    uuid = models.UUIDField(db_default=RandomUUID(), unique=True, editable=False)
    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT)
    kind = models.CharField(max_length=60)
    payload = models.JSONField()
    created_at = models.DateTimeField(default=clock.now)
    dispatched_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"], condition=models.Q(dispatched_at=None), name="outbox_to_dispatch"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def public_id(self) -> str:
        """The event's name to the outside, the same in every delivery."""
        return f"evt_{self.uuid.hex}"

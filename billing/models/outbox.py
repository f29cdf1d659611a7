"""What happened and must be told: written in the transaction that made it happen."""

from django.db import models

from accounts.models import Organization
from kernel import clock


class OutboxEvent(models.Model):
    """One event of an organization. Amounts in ``payload`` are decimal strings of nanos."""

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

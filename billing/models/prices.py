"""Prices by version, never edited: a later version takes over at its time."""

from django.db import models

from accounts.models import Organization
from billing.usage import BUCKETS, Usage
from kernel import clock


class PriceVersion(models.Model):
    """Nanos per 1,000,000 units of each bucket of one public model."""

    model = models.CharField(max_length=200)
    org = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT)
    effective_from = models.DateTimeField(default=clock.now)
    input_nanos = models.BigIntegerField(default=0)
    cached_input_nanos = models.BigIntegerField(default=0)
    cache_write_nanos = models.BigIntegerField(default=0)
    output_nanos = models.BigIntegerField(default=0)
    reasoning_nanos = models.BigIntegerField(default=0)
    image_nanos = models.BigIntegerField(default=0)
    audio_input_nanos = models.BigIntegerField(default=0)
    audio_output_nanos = models.BigIntegerField(default=0)
    embedding_nanos = models.BigIntegerField(default=0)
    request_nanos = models.BigIntegerField(default=0)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "org", "effective_from"],
                nulls_distinct=False,
                name="price_version_once",
            ),
            models.CheckConstraint(
                condition=models.Q(**{f"{bucket}_nanos__gte": 0 for bucket in BUCKETS}),
                name="price_version_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} from {self.effective_from:%Y-%m-%d %H:%M}"

    def as_prices(self) -> Usage:
        """Return nanos per 1,000,000 units by bucket."""
        return Usage(**{bucket: getattr(self, f"{bucket}_nanos") for bucket in BUCKETS})

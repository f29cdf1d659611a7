"""Prices by version, never edited: a later version takes over at its time."""

from typing import Any

from django.db import models

from accounts.models import Organization
from billing.usage import BUCKETS, Usage
from kernel import clock


class BucketPrices(models.Model):
    """Nanos per 1,000,000 units of each bucket of usage."""

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

    class Meta:
        abstract = True

    def as_prices(self) -> Usage:
        """Return nanos per 1,000,000 units by bucket."""
        return Usage(**{bucket: getattr(self, f"{bucket}_nanos") for bucket in BUCKETS})


class PriceVersion(BucketPrices):
    """Nanos per 1,000,000 units of each bucket of one public model.

    ``org`` None is the list price; an organization's own goes before it. ``tiers`` are graduated
    within a request: ``{bucket: [[above units, nanos per million], …]}``, rising. A version of all
    zeros makes a model free.
    """

    model = models.CharField(max_length=200)
    org = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT)
    effective_from = models.DateTimeField(default=clock.now)
    tiers = models.JSONField(null=True, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    approved_by = models.CharField(max_length=200, blank=True)
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

    @property
    def tiers_by_bucket(self) -> dict[str, list[list[int]]]:
        tiers: dict[str, Any] = self.tiers or {}
        return tiers


class ProviderCost(BucketPrices):
    """What a provider charges us for one of its models, by version: nanos per 1,000,000 units."""

    provider = models.CharField(max_length=120)
    upstream_model = models.CharField(max_length=200)
    effective_from = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "upstream_model", "effective_from"], name="provider_cost_once"
            ),
            models.CheckConstraint(
                condition=models.Q(**{f"{bucket}_nanos__gte": 0 for bucket in BUCKETS}),
                name="provider_cost_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.upstream_model} from {self.effective_from:%Y-%m-%d %H:%M}"

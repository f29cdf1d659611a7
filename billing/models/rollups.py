"""Usage summed by the hour: what pages, the API and alerts read instead of single calls."""

from django.db import models


class UsageRollup(models.Model):
    """What one key used of one model in one hour of UTC. Sums only; averages are the reader's.

    ``first_token_count`` and ``duration_count`` say how many calls are in the sums of milliseconds.
    Written by ``sql/rollups.sql`` alone; read through ``billing.rollups``, which adds what is still
    to be rolled up.
    """

    pk = models.CompositePrimaryKey("org_id", "hour", "project_id", "key_id", "model")
    org_id = models.BigIntegerField()
    hour = models.DateTimeField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=200)
    requests = models.BigIntegerField()
    input = models.DecimalField(max_digits=38, decimal_places=0)
    cached_input = models.DecimalField(max_digits=38, decimal_places=0)
    cache_write = models.DecimalField(max_digits=38, decimal_places=0)
    output = models.DecimalField(max_digits=38, decimal_places=0)
    reasoning = models.DecimalField(max_digits=38, decimal_places=0)
    image = models.DecimalField(max_digits=38, decimal_places=0)
    audio_input = models.DecimalField(max_digits=38, decimal_places=0)
    audio_output = models.DecimalField(max_digits=38, decimal_places=0)
    embedding = models.DecimalField(max_digits=38, decimal_places=0)
    request = models.DecimalField(max_digits=38, decimal_places=0)
    amount_nanos = models.DecimalField(max_digits=38, decimal_places=0)
    first_token_ms = models.BigIntegerField()
    first_token_count = models.BigIntegerField()
    duration_ms = models.BigIntegerField()
    duration_count = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.model} in the hour from {self.hour:%Y-%m-%d %H:%M}"

"""The histories of the proof and of the reconciliation."""

from django.db import models

from kernel import clock


class ProofRun(models.Model):
    """One run of every equation, and the rows that broke any."""

    at = models.DateTimeField(default=clock.now)
    is_clean = models.BooleanField()
    duration_ms = models.IntegerField()
    report = models.JSONField()

    def __str__(self) -> str:
        return f"{'clean' if self.is_clean else 'NOT clean'} at {self.at:%Y-%m-%d %H:%M:%S}"


class ReconciliationRun(models.Model):
    """One recount of what moved in the last ``hours``, and every difference it named."""

    at = models.DateTimeField(default=clock.now)
    hours = models.SmallIntegerField()
    is_clean = models.BooleanField()
    duration_ms = models.IntegerField()
    report = models.JSONField()

    def __str__(self) -> str:
        return f"{'clean' if self.is_clean else 'NOT clean'} at {self.at:%Y-%m-%d %H:%M:%S}"

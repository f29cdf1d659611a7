"""The history of the proof."""

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

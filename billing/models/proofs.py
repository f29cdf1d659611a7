"""The histories of the proof and of the reconciliation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from kernel import clock


@dataclass(frozen=True, slots=True)
class Broken:
    """An equation that did not hold, and the rows that were named, each as what, left, right."""

    number: str
    promise: str
    rows: Sequence[Sequence[str]]


class ProofRun(models.Model):
    """One run of every equation, and the rows that broke any."""

    at = models.DateTimeField(default=clock.now)
    is_clean = models.BooleanField()
    duration_ms = models.IntegerField()
    report = models.JSONField()

    def __str__(self) -> str:
        return f"{'clean' if self.is_clean else 'NOT clean'} at {self.at:%Y-%m-%d %H:%M:%S}"

    @property
    def broken(self) -> list[Broken]:
        return _broken(self.report["equations"])


class ReconciliationRun(models.Model):
    """One recount of what moved in the last ``hours``, and every difference it named."""

    at = models.DateTimeField(default=clock.now)
    hours = models.SmallIntegerField()
    is_clean = models.BooleanField()
    duration_ms = models.IntegerField()
    report = models.JSONField()

    def __str__(self) -> str:
        return f"{'clean' if self.is_clean else 'NOT clean'} at {self.at:%Y-%m-%d %H:%M:%S}"

    @property
    def broken(self) -> list[Broken]:
        return _broken(self.report)


def _broken(findings: Iterable[Mapping[str, Any]]) -> list[Broken]:
    return [Broken(f["number"], f["promise"], f["rows"]) for f in findings if f["rows"]]

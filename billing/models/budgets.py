"""Budgets and their windows. A window is a row; nothing is ever reset."""

from django.db import models

from accounts.models import ApiKey, Organization, Project
from kernel import clock


class Budget(models.Model):
    """The most an organization, a project or a key may spend in a period.

    The level is the narrowest of ``key``, ``project``, ``org`` that is set.
    """

    class Period(models.TextChoices):
        HOUR = "hour"
        DAY = "day"
        WEEK = "week"
        MONTH = "month"
        LIFETIME = "lifetime"

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="budgets")
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.PROTECT)
    key = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.PROTECT)
    period = models.CharField(max_length=8, choices=Period.choices)
    limit_nanos = models.BigIntegerField()
    active = models.BooleanField(default=True)
    effective_from = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(limit_nanos__gte=0), name="budget_limit_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(key=None) | models.Q(project=None), name="budget_one_level"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.period} budget"

    @property
    def level(self) -> str:
        if self.key_id is not None:
            return "key"
        return "project" if self.project_id is not None else "organization"


class BudgetWindow(models.Model):
    """What is settled and held against a budget in one of its periods (end exclusive)."""

    pk = models.CompositePrimaryKey("budget_id", "window_start")
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="windows")
    window_start = models.DateTimeField()
    window_end = models.DateTimeField(null=True)
    settled_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(settled_nanos__gte=0, held_nanos__gte=0),
                name="budget_window_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget} from {self.window_start:%Y-%m-%d %H:%M}"

"""Budgets and their windows. A window is a row; nothing is ever reset."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import ApiKey, Organization, Project
from kernel import clock


def default_alert_percents() -> list[int]:
    return [50, 80, 100]


class Budget(models.Model):
    """The most an organization, a project or a key may use in a period, of one model or of all.

    The level is the narrowest of ``key``, ``project``, ``org`` that is set. The limit is in money
    or in tokens. A hard budget refuses what would exceed it; a soft one only tells. ``anchor`` is
    where a period begins: the hour of a day, the ISO weekday of a week, the day of a month; None
    is midnight, Monday, the first.
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
    model = models.CharField(max_length=200, default="", blank=True)
    anchor = models.SmallIntegerField(null=True, blank=True)
    limit_nanos = models.BigIntegerField(null=True, blank=True)
    limit_tokens = models.BigIntegerField(null=True, blank=True)
    is_hard = models.BooleanField(default=True)
    alert_percents = ArrayField(models.SmallIntegerField(), default=default_alert_percents)
    active = models.BooleanField(default=True)
    effective_from = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(limit_nanos__gte=0, limit_tokens=None)
                | models.Q(limit_tokens__gte=0, limit_nanos=None),
                name="budget_limit_in_one_unit",
            ),
            models.CheckConstraint(
                condition=models.Q(anchor=None)
                | models.Q(period="day", anchor__range=(0, 23))
                | models.Q(period="week", anchor__range=(1, 7))
                | models.Q(period="month", anchor__range=(1, 31)),
                name="budget_anchor_in_period",
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

    @property
    def unit(self) -> str:
        return "usd" if self.limit_tokens is None else "tokens"


class BudgetWindow(models.Model):
    """What is settled and held against a budget in one of its periods (end exclusive).

    ``highest_limit``, in the budget's unit, is the most it allowed in this window: a limit that is
    lowered leaves what was used before. None for windows from before it was kept.
    """

    pk = models.CompositePrimaryKey("budget_id", "window_start")
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="windows")
    window_start = models.DateTimeField()
    window_end = models.DateTimeField(null=True)
    settled_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    settled_tokens = models.BigIntegerField(default=0)
    held_tokens = models.BigIntegerField(default=0)
    highest_limit = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    settled_nanos__gte=0,
                    held_nanos__gte=0,
                    settled_tokens__gte=0,
                    held_tokens__gte=0,
                ),
                name="budget_window_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget} from {self.window_start:%Y-%m-%d %H:%M}"


class BudgetAlert(models.Model):
    """A threshold of a budget that a window has reached and that has been told."""

    pk = models.CompositePrimaryKey("budget_id", "window_start", "percent")
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="alerts")
    window_start = models.DateTimeField()
    percent = models.SmallIntegerField()
    told_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.percent} % of {self.budget}"

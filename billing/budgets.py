"""Budgets: made, changed and ended under the organization's account lock, counted by the tick."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from accounts.audit import record_change
from accounts.models import ApiKey, Organization, Project
from billing.grants import database_time
from billing.locks import lock_accounts
from billing.models import Budget
from billing.models.budgets import default_alert_percents
from kernel.errors import BadRequestError
from kernel.money import check_nanos, render_usd

MOST_BUDGETS = 50
MOST_ALERTS = 10
REARM_POINTS = 10
_ANCHORS = {"day": range(24), "week": range(1, 8), "month": range(1, 32)}
_RAISED = """
update billing_budgetwindow set highest_limit = greatest(highest_limit, %s)
where budget_id = %s and highest_limit is not null
  and (window_end is null or window_end > clock_timestamp())
"""
_PAST_TIME = """
delete from billing_budgetalert a using billing_budgetwindow w, billing_budget b
where b.id = %s and a.budget_id = b.id and w.budget_id = b.id and w.window_start = a.window_start
  and 100::numeric * case when b.limit_tokens is null then w.settled_nanos else w.settled_tokens end
    < coalesce(b.limit_tokens, b.limit_nanos)::numeric * (a.percent - %s)
"""


@dataclass(frozen=True, slots=True)
class BudgetSpec:
    """A budget to be, on the narrowest of key, project and organization, of one model or of all.

    Exactly one of ``limit_nanos`` and ``limit_tokens``. ``anchor`` is the hour of a day (0–23), the
    ISO weekday of a week (1–7) or the day of a month (1–31) at which a period begins in the
    organization's time zone.
    """

    period: str
    limit_nanos: int | None = None
    limit_tokens: int | None = None
    project: Project | None = None
    key: ApiKey | None = None
    model: str = ""
    anchor: int | None = None
    is_hard: bool = True
    alert_percents: Sequence[int] = field(default_factory=default_alert_percents)


def add_budget(org: Organization, spec: BudgetSpec, *, actor: str) -> Budget:
    """Make a budget that counts from now on.

    The lock makes "from now on" exact: every hold is either before the budget or counted in it, so
    a budget starts with nothing used.

    Raises:
        BadRequestError: for a period, an anchor, thresholds or a limit that cannot be.

    """
    check_budget(spec)
    with transaction.atomic():
        lock_accounts([org.pk])
        if Budget.objects.filter(org=org, active=True).count() >= MOST_BUDGETS:
            raise BadRequestError(f"An organization has {MOST_BUDGETS} budgets at most.")
        budget = Budget.objects.create(
            org=org,
            project=None if spec.key is not None else spec.project,
            key=spec.key,
            model=spec.model,
            period=spec.period,
            anchor=spec.anchor,
            limit_nanos=spec.limit_nanos,
            limit_tokens=spec.limit_tokens,
            is_hard=spec.is_hard,
            alert_percents=sorted(set(spec.alert_percents)),
            effective_from=database_time(),
        )
        record_change(org.pk, actor, "budget.create", f"budget {budget.pk}", after=_told(budget))
    return budget


def create_budget(
    *,
    org: Organization,
    limit_nanos: int,
    period: str,
    actor: str,
    project: Project | None = None,
    key: ApiKey | None = None,
) -> Budget:
    """Make a hard budget in money; see ``add_budget``."""
    spec = BudgetSpec(period, limit_nanos=limit_nanos, project=project, key=key)
    return add_budget(org, spec, actor=actor)


def change_budget_limit(budget: Budget, limit: int, *, actor: str) -> Budget:
    """Change a limit, in the budget's own unit.

    Below what is used it stops new spend at once and harms no running call. Thresholds that are
    well above the use again will be told again.
    """
    check_nanos(limit)
    with transaction.atomic():
        lock_accounts([budget.org_id])
        before = _told(budget)
        column = "limit_nanos" if budget.limit_tokens is None else "limit_tokens"
        setattr(budget, column, limit)
        budget.save(update_fields=[column])
        with connection.cursor() as cursor:
            cursor.execute(_RAISED, [limit, budget.pk])
            cursor.execute(_PAST_TIME, [budget.pk, REARM_POINTS])
        record_change(
            budget.org_id,
            actor,
            "budget.change",
            f"budget {budget.pk}",
            before=before,
            after=_told(budget),
        )
    return budget


def end_budget(budget: Budget, *, actor: str) -> Budget:
    """End a budget: it refuses nothing from now on. Its windows stay as they are."""
    with transaction.atomic():
        lock_accounts([budget.org_id])
        budget.active = False
        budget.save(update_fields=["active"])
        record_change(
            budget.org_id, actor, "budget.end", f"budget {budget.pk}", before=_told(budget)
        )
    return budget


def check_budget(spec: BudgetSpec) -> None:
    """Raise BadRequestError for a budget that cannot be."""
    if spec.period not in Budget.Period.values:
        raise BadRequestError(f"{spec.period!r} is not a budget period.", param="period")
    if (spec.limit_nanos is None) == (spec.limit_tokens is None):
        raise BadRequestError("Give a limit in money or in tokens, not both.", param="limit")
    check_nanos(spec.limit_tokens if spec.limit_nanos is None else spec.limit_nanos)
    if spec.anchor is not None and spec.anchor not in _ANCHORS.get(spec.period, ()):
        raise BadRequestError(f"A {spec.period} cannot begin at {spec.anchor}.", param="anchor")
    percents = spec.alert_percents
    if len(percents) > MOST_ALERTS or not all(
        type(p) is int and 1 <= p <= 1000  # noqa: PLR2004 # a soft budget may be passed tenfold
        for p in percents
    ):
        raise BadRequestError(
            f"Thresholds are up to {MOST_ALERTS} whole per cents from 1 to 1000.",
            param="alert_percents",
        )


def render_limit(budget: Budget) -> str:
    """Write a budget's limit in its unit: ``12.50 USD`` or ``100000 tokens``."""
    if budget.limit_nanos is None:
        return f"{budget.limit_tokens} tokens"
    return f"{render_usd(budget.limit_nanos, places=2)} USD"


def _told(budget: Budget) -> dict[str, Any]:
    return {
        "level": budget.level,
        "model": budget.model,
        "limit": render_limit(budget),
        "period": budget.period,
        "hard": budget.is_hard,
    }

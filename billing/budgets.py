"""Budgets: made and changed under the organization's account lock, counted by the tick."""

from datetime import datetime

from django.db import connection, transaction

from accounts.audit import record_change
from accounts.models import ApiKey, Organization, Project
from billing.locks import lock_accounts
from billing.models import Budget
from kernel.errors import BadRequestError
from kernel.money import check_nanos, render_usd


def create_budget(
    *,
    org: Organization,
    limit_nanos: int,
    period: str,
    actor: str,
    project: Project | None = None,
    key: ApiKey | None = None,
) -> Budget:
    """Limit what the narrowest of key, project and organization may spend in a period.

    The lock makes "from now on" exact: every hold is either before the budget or counted in it, so
    a budget starts with nothing used.
    """
    if period not in Budget.Period.values:
        raise BadRequestError(f"{period!r} is not a budget period.", param="period")
    check_nanos(limit_nanos)
    with transaction.atomic():
        lock_accounts([org.pk])
        budget = Budget.objects.create(
            org=org,
            project=None if key is not None else project,
            key=key,
            period=period,
            limit_nanos=limit_nanos,
            effective_from=_database_time(),
        )
        record_change(
            org.pk,
            actor,
            "budget.create",
            f"budget {budget.pk}",
            after={"level": budget.level, "limit_usd": render_usd(limit_nanos), "period": period},
        )
    return budget


def change_budget_limit(budget: Budget, limit_nanos: int, *, actor: str) -> Budget:
    """Change a limit. Below what is used it stops new spend at once and harms no running call."""
    check_nanos(limit_nanos)
    with transaction.atomic():
        lock_accounts([budget.org_id])
        before = budget.limit_nanos
        budget.limit_nanos = limit_nanos
        budget.save(update_fields=["limit_nanos"])
        record_change(
            budget.org_id,
            actor,
            "budget.change",
            f"budget {budget.pk}",
            before={"limit_usd": render_usd(before)},
            after={"limit_usd": render_usd(limit_nanos)},
        )
    return budget


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now

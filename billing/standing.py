"""Where a key stands: its budgets, its organization's credit, and what one call came to."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import LiteralString

from django.db import connection, transaction

from accounts.models import ApiKey, Organization, Project
from accounts.principal import RateLimits
from billing.models import Hold, UsageEvent, UsageId
from billing.overview import Balance, read_balance
from billing.rollups import read_total_nanos

# The periods are the database's, as for the hold: the same window, the same clock.
BUDGETS: LiteralString = """
select case when b.key_id is not null then 'key' when b.project_id is not null then 'project'
    else 'organization' end,
  b.model, b.period, u.unit, u.most, u.used, u.held, p.renews_at, b.is_hard
from billing_budget b join accounts_organization o on o.id = b.org_id
cross join lateral budget_window(b, o.timezone, now()) p(started_at, renews_at)
left join billing_budgetwindow w on w.budget_id = b.id and w.window_start = p.started_at
cross join lateral (
  select 'usd', b.limit_nanos, coalesce(w.settled_nanos, 0), coalesce(w.held_nanos, 0)
  where b.limit_tokens is null
  union all
  select 'tokens', b.limit_tokens, coalesce(w.settled_tokens, 0), coalesce(w.held_tokens, 0)
  where b.limit_tokens is not null
) u(unit, most, used, held)
where b.org_id = %s and b.active and (b.project_id is null or b.project_id = %s)
  and (b.key_id is null or b.key_id = %s)
order by b.id
"""
CREDITED: LiteralString = """
select coalesce(-sum(e.amount_nanos), 0) from billing_ledgertransaction t
join billing_ledgerentry e on e.txn_id = t.id
join billing_ledgeraccount a on a.id = e.account_id and a.org_id = t.org_id
  and a.code in ('deferred_revenue', 'promotional_credit')
where t.org_id = %s and t.kind not in ('usage', 'reversal')
"""


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """A budget on a key's way, in its present period; ``renews_at`` is None for a lifetime.

    Amounts are in ``unit``: nanos for ``usd``, else tokens. ``model`` is empty for every model.
    """

    level: str
    model: str
    period: str
    unit: str
    limit: int
    used: int
    reserved: int
    renews_at: datetime | None
    is_hard: bool

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used - self.reserved)


@dataclass(frozen=True, slots=True)
class Tightest:
    """What may be spent at most, and the level that says so: a budget's, or ``credit``."""

    level: str
    left_nanos: int
    renews_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyStanding:
    key: ApiKey
    budgets: Sequence[BudgetStanding]
    balance: Balance

    def rate_limits(self, *, rpm: int, tpm: int) -> dict[str, RateLimits]:
        """Return the limits of each level; the platform's a minute where the key has none."""
        levels = {
            level: RateLimits(row.rpm, row.rpd, row.tpm, row.concurrency)
            for level, row in (
                ("key", self.key),
                ("project", self.key.project),
                ("organization", self.key.org),
            )
        }
        own = levels["key"]
        return {**levels, "key": replace(own, rpm=own.rpm or rpm, tpm=own.tpm or tpm)}

    @property
    def tightest_by_scope(self) -> list[BudgetStanding]:
        """Return, for money and for tokens, of all models and of each, what refuses first."""
        binding: dict[tuple[str, str], BudgetStanding] = {}
        for budget in self.budgets:
            scope = (budget.model, budget.unit)
            if budget.is_hard and (scope not in binding or budget.left < binding[scope].left):
                binding[scope] = budget
        return [binding[scope] for scope in sorted(binding)]

    @property
    def tightest(self) -> Tightest:
        """Return the level that refuses first; of equals a budget before credit, as the hold."""
        binding = (b for b in self.budgets if b.is_hard and b.unit == "usd" and not b.model)
        levels = [
            *(Tightest(b.level, b.left, b.renews_at) for b in binding),
            Tightest("credit", self.balance.available_nanos, None),
        ]
        return min(levels, key=lambda level: level.left_nanos)


@dataclass(frozen=True, slots=True)
class Credits:
    """What was ever credited and ever used, and the balance between."""

    credited_nanos: int
    used_nanos: int
    balance: Balance

    @property
    def net_nanos(self) -> int:
        """Return credit minus debt; what is reserved is still the customer's."""
        return self.balance.credit_nanos - self.balance.owed_nanos


@dataclass(frozen=True, slots=True)
class Generation:
    """One call. ``event`` is None while it runs and where nothing was charged."""

    request_id: str
    project: str
    key: str
    model: str
    state: str
    created_at: datetime
    event: UsageEvent | None


def tightest_limits(levels: Iterable[RateLimits]) -> RateLimits:
    """Return, limit by limit, the lowest of all levels."""
    every = [astuple(limits) for limits in levels]
    return RateLimits(
        *(
            min((n for n in column if n is not None), default=None)
            for column in zip(*every, strict=True)
        )
    )


def read_key_standing(key: ApiKey) -> KeyStanding:
    """Return a key's budgets and its organization's balance, all of one moment."""
    with _snapshot(), connection.cursor() as cursor:
        cursor.execute(BUDGETS, [key.org_id, key.project_id, key.pk])
        budgets = [BudgetStanding(*row) for row in cursor.fetchall()]
        return KeyStanding(key, budgets, read_balance(key.org))


def read_credits(org: Organization) -> Credits:
    """Return an organization's credit, all of one moment."""
    with _snapshot(), connection.cursor() as cursor:
        cursor.execute(CREDITED, [org.pk])
        credited_nanos = int(cursor.fetchone()[0])
        return Credits(credited_nanos, read_total_nanos(org.pk), read_balance(org))


def find_generation(key: ApiKey, request_id: str) -> Generation | None:
    """Return a call of the key's project; an admin key finds every call of its organization."""
    with _snapshot():
        event = _find_event(request_id)
        row = event or Hold.objects.filter(request_id=request_id).first()
        if row is None or row.org_id != key.org_id:
            return None
        if key.kind != ApiKey.Kind.ADMIN and row.project_id != key.project_id:
            return None
        return Generation(
            request_id,
            Project.objects.get(pk=row.project_id).public_id,
            ApiKey.objects.get(pk=row.key_id).public_id,
            row.model,
            Hold.State.SETTLED if isinstance(row, UsageEvent) else row.state,
            row.occurred_at if isinstance(row, UsageEvent) else row.created_at,
            event,
        )


def _find_event(request_id: str) -> UsageEvent | None:
    """Find a call by its id; the time beside it names the partition."""
    known = UsageId.objects.filter(request_id=request_id).first()
    if known is None:
        return None
    return UsageEvent.objects.get(request_id=request_id, occurred_at=known.occurred_at)


@contextmanager
def _snapshot() -> Iterator[None]:
    """Read one moment of the books; nothing can be written."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
        yield

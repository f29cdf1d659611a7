"""The read queries of the pages: balance, spend, keys, calls. Nothing here writes.

Days and months are half-open intervals of the organization's own zone, as on its invoices. Spend is
read once for every place that shows it: the month, the chart and the keys add up to each other.
Past hours come from roll-ups; in a zone whose days begin within an hour of UTC, from the calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.core.cache import cache
from django.db import connection
from django.db.models import Max, Q, Sum
from django.db.models.functions import TruncDate

from accounts.models import ApiKey, Organization
from billing.models import (
    BillingAccount,
    Budget,
    BudgetWindow,
    Hold,
    NetUsage,
    PriceVersion,
    UsageEvent,
)
from billing.usage import BUCKETS, Usage
from kernel import clock

CHART_DAYS = 30
CALLS_SHOWN = 20
RUNNING_SHOWN = 5
SLOW_S = 0.2
KEPT_TIMES = 50
ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Balance:
    """What may still be spent, and what running calls have set aside out of the rest.

    ``credit_nanos`` is what remains of credit, scoped and reserved credit included.
    """

    available_nanos: int
    credit_nanos: int
    reserved_nanos: int
    credit_limit_nanos: int
    owed_nanos: int
    running_calls: int


@dataclass(frozen=True, slots=True)
class DaySpend:
    day: date
    amount_nanos: int
    calls: int


@dataclass(frozen=True, slots=True)
class KeySpend:
    """A key in the current month; ``last_used_at`` looks back over the whole window read."""

    month_nanos: int = 0
    month_calls: int = 0
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """``days`` are the last thirty, today last; ``since`` is how far back the query looked."""

    days: Sequence[DaySpend]
    by_key: Mapping[int, KeySpend]
    month_start: datetime
    since: datetime

    @property
    def month_nanos(self) -> int:
        return sum(key.month_nanos for key in self.by_key.values())

    @property
    def month_calls(self) -> int:
        return sum(key.month_calls for key in self.by_key.values())

    @property
    def chart_nanos(self) -> int:
        return sum(day.amount_nanos for day in self.days)

    @property
    def today(self) -> DaySpend:
        return self.days[-1]


@dataclass(frozen=True, slots=True)
class KeyBudget:
    """A key's own budget and what its current window has used; held money counts as used."""

    limit_nanos: int
    used_nanos: int
    period: str

    @property
    def left_nanos(self) -> int:
        return self.limit_nanos - self.used_nanos


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call: settled with its cost, or still running with what it holds."""

    request_id: str
    at: datetime
    model: str
    key: ApiKey | None
    tokens_in: int
    tokens_out: int
    amount_nanos: int
    outcome: str
    duration_ms: int | None

    @property
    def is_running(self) -> bool:
        return self.outcome == "running"


@dataclass(frozen=True, slots=True)
class _Part:
    """One key's usage of one day, within the range that was asked."""

    day: date
    key_id: int
    amount_nanos: int
    calls: int
    last_at: datetime


def read_balance(org: Organization) -> Balance:
    account = BillingAccount.objects.get(org=org)
    owed = account.unbilled_nanos + account.receivable_nanos
    line_nanos = account.credit_limit_nanos - owed - account.line_held_nanos
    return Balance(
        available_nanos=_free_credit_nanos(org) + max(0, line_nanos),
        credit_nanos=account.deferred_nanos + account.promotional_nanos,
        reserved_nanos=account.held_nanos,
        credit_limit_nanos=account.credit_limit_nanos,
        owed_nanos=owed,
        running_calls=Hold.objects.filter(org_id=org.pk, state=Hold.State.HELD).count(),
    )


def _free_credit_nanos(org: Organization) -> int:
    """Return what is free on grants that pay for every model now, as admission counts it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select coalesce(max(to_nanos), 0) from free_grants(array[%s]::bigint[], now())",
            [org.pk],
        )
        return int(cursor.fetchone()[0])


def read_spend(org: Organization) -> Spend:
    """Sum usage by day and key over the current month and the last thirty days."""
    zone, now = ZoneInfo(org.timezone), clock.now()
    today = now.astimezone(zone).date()
    first_day, month_day = today - timedelta(days=CHART_DAYS - 1), today.replace(day=1)
    since = _midnight(min(first_day, month_day), zone)
    until = _midnight(today + timedelta(days=1), zone)
    edge = max(since, now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1))
    read_past = _rolled_parts if _begins_on_the_hour(since, until) else _remembered_parts
    days = {first_day + timedelta(days=past): [0, 0] for past in range(CHART_DAYS)}
    keys: dict[int, KeySpend] = {}
    for part in (*read_past(org, since, edge), *_read_parts(org, edge, until)):
        if part.day in days:
            days[part.day][0] += part.amount_nanos
            days[part.day][1] += part.calls
        key, is_in_month = keys.get(part.key_id, KeySpend()), part.day >= month_day
        keys[part.key_id] = KeySpend(
            key.month_nanos + (part.amount_nanos if is_in_month else 0),
            key.month_calls + (part.calls if is_in_month else 0),
            max(part.last_at, key.last_used_at or part.last_at),
        )
    return Spend(
        [DaySpend(day, amount, calls) for day, (amount, calls) in days.items()],
        keys,
        _midnight(month_day, zone),
        since,
    )


def read_key_budgets(org: Organization) -> dict[int, KeyBudget]:
    """Return keys' active budgets; of several, the one with the least left."""
    now = clock.now()
    budgets = Budget.objects.filter(
        org=org, active=True, is_hard=True, key__isnull=False, model="", limit_tokens=None
    )
    windows = BudgetWindow.objects.filter(budget__in=budgets, window_start__lte=now).filter(
        Q(window_end__gt=now) | Q(window_end=None)
    )
    used = {window.budget_id: window.settled_nanos + window.held_nanos for window in windows}
    tightest: dict[int, KeyBudget] = {}
    rows = budgets.values_list("pk", "key_id", "limit_nanos", "period")
    for pk, key_id, limit_nanos, period in rows:
        assert limit_nanos is not None, "a budget without a limit in tokens has one in money"
        budget = KeyBudget(limit_nanos, used.get(pk, 0), period)
        other = tightest.get(key_id)
        if other is None or budget.left_nanos < other.left_nanos:
            tightest[key_id] = budget
    return tightest


def read_calls(org: Organization) -> list[CallRow]:
    """Return running calls, newest first and at most five, then the last twenty settled ones."""
    running = list(
        Hold.objects.filter(org_id=org.pk, state=Hold.State.HELD).order_by("-created_at")[
            :RUNNING_SHOWN
        ]
    )
    settled = list(UsageEvent.objects.filter(org_id=org.pk).order_by("-occurred_at")[:CALLS_SHOWN])
    keys = ApiKey.objects.in_bulk(
        [hold.key_id for hold in running] + [event.key_id for event in settled]
    )
    return [
        *(_running_call(hold, keys.get(hold.key_id)) for hold in running),
        *(_settled_call(event, keys.get(event.key_id)) for event in settled),
    ]


def read_models(org: Organization) -> list[str]:
    """Return the models that have a price for this organization: without one none can be called."""
    prices = PriceVersion.objects.filter(
        Q(org=None) | Q(org=org), effective_from__lte=clock.now()
    ).order_by("model")
    return list(prices.values_list("model", flat=True).distinct())


def _begins_on_the_hour(since: datetime, until: datetime) -> bool:
    """Tell whether a zone's days begin with an hour of UTC, as the roll-ups' hours do."""
    offsets = (since.utcoffset(), until.utcoffset())
    return all(offset is not None and offset % timedelta(hours=1) == ZERO for offset in offsets)


def _rolled_parts(org: Organization, since: datetime, until: datetime) -> list[_Part]:
    """Return what ``_read_parts`` does, from roll-ups; the last use is known to the hour."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select (hour at time zone %s)::date, key_id, sum(amount_nanos), sum(requests),"
            " max(hour) from billing_usagehour where org_id = %s and hour >= %s and hour < %s"
            " group by 1, 2",
            [org.timezone, org.pk, since, until],
        )
        rows = cursor.fetchall()
    return [_Part(day, key, int(total), int(calls), last) for day, key, total, calls, last in rows]


def _remembered_parts(org: Organization, since: datetime, until: datetime) -> list[_Part]:
    """Return what ``_read_parts`` does; a slow answer is kept fifty times as long as it took.

    So a page of a very large organization costs the database two per cent of its time at most, and
    usage that lands hours late is on it within minutes. A small one is always read anew.
    """
    place = f"spend.{org.public_id}.{org.timezone}.{since.timestamp():.0f}.{until.timestamp():.0f}"
    kept: list[_Part] | None = cache.get(place)
    if kept is not None:
        return kept
    began_s = clock.monotonic()
    parts = _read_parts(org, since, until)
    took_s = clock.monotonic() - began_s
    if took_s > SLOW_S:
        cache.set(place, parts, timeout=took_s * KEPT_TIMES)
    return parts


def _read_parts(org: Organization, since: datetime, until: datetime) -> list[_Part]:
    groups = (
        NetUsage.objects.filter(org_id=org.pk, occurred_at__gte=since, occurred_at__lt=until)
        .annotate(day=TruncDate("occurred_at", tzinfo=ZoneInfo(org.timezone)))
        .values_list("day", "key_id")
        .annotate(Sum("amount_nanos"), Sum("calls"), Max("occurred_at"))
    )
    return [_Part(day, key, int(total), calls, last) for day, key, total, calls, last in groups]


def _running_call(hold: Hold, key: ApiKey | None) -> CallRow:
    return CallRow(
        hold.request_id,
        hold.created_at,
        hold.model,
        key,
        tokens_in=0,
        tokens_out=0,
        amount_nanos=hold.amount_nanos,
        outcome="running",
        duration_ms=None,
    )


def _settled_call(event: UsageEvent, key: ApiKey | None) -> CallRow:
    used = Usage(**{bucket: getattr(event, bucket) for bucket in BUCKETS})
    return CallRow(
        event.request_id,
        event.occurred_at,
        event.model,
        key,
        tokens_in=used.prompt_tokens,
        tokens_out=used.completion_tokens,
        amount_nanos=event.amount_nanos,
        outcome=event.outcome,
        duration_ms=event.duration_ms,
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)

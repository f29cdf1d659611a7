"""Usage by the hour: a task rolls it up, and readers add what is still to be rolled up.

The sums of every batch are committed with its usage (``sql/rollups.sql``), so that what is read
here equals the calls themselves at every moment, however late a call settles and whether or not
the task runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from django.db import connection
from psycopg.rows import TupleRow

from billing.usage import BUCKETS, Usage

MOST_ROWS = 50_000
MOST_PASSES = 20


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """One organization's usage in a half-open time range, in buckets of ``width_s``.

    ``by`` names what is told apart (``project``, ``key``, ``model``); ids are public ones, and
    ``None`` leaves out a filter.
    """

    org_id: int
    since: datetime
    until: datetime
    width_s: int
    by: frozenset[str] = frozenset()
    projects: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What was used in one bucket by one group; ids are None where groups are not told apart."""

    bucket_at: datetime
    project: str | None
    key: str | None
    model: str | None
    requests: int
    amount_nanos: int
    usage: Usage


_SUMS = ", ".join(f"sum({bucket}) {bucket}" for bucket in BUCKETS)
_SELECTED = ", ".join(f"s.{bucket}" for bucket in BUCKETS)
_GROUPS: LiteralString = f"""
select s.at, p.public_id, k.public_id, s.model, s.requests, s.amount_nanos, {_SELECTED} from (
  select date_bin(make_interval(secs => %(width_s)s), at, to_timestamp(0)) at,
    case when %(by_project)s then project_id end project_id,
    case when %(by_key)s then key_id end key_id,
    case when %(by_model)s then model end model,
    sum(requests) requests, sum(amount_nanos) amount_nanos, {_SUMS}
  from (select u.*, {{columns}} from {{table}} u) u
  where org_id = %(org_id)s and at >= %(since)s and at < %(until)s
    and (%(projects)s::text[] is null or project_id in (
      select id from accounts_project where org_id = %(org_id)s and public_id = any(%(projects)s)))
    and (%(keys)s::text[] is null or key_id in (
      select id from accounts_apikey where org_id = %(org_id)s and public_id = any(%(keys)s)))
    and (%(models)s::text[] is null or model = any(%(models)s))
  group by 1, 2, 3, 4
) s left join accounts_project p on p.id = s.project_id
left join accounts_apikey k on k.id = s.key_id
order by s.at, p.public_id, k.public_id, s.model limit %(most)s
"""  # noqa: S608 # column names of our own
HOURS: LiteralString = _GROUPS.format(table="billing_usagehour", columns="u.hour as at")
CALLS: LiteralString = _GROUPS.format(
    table="billing_usagenet", columns="u.occurred_at as at, u.calls as requests"
)
HOUR_S = 3600


def roll_up(database: psycopg.Connection[TupleRow]) -> int:
    """Move what has been used since the last time into the roll-ups; return how many sums moved.

    May run twice at once (the second moves nothing) and may die anywhere (nothing has moved then).
    """
    moved = 0
    for _ in range(MOST_PASSES):
        row = database.execute("select roll_up(%s)", (MOST_ROWS,)).fetchone()
        assert row is not None
        moved += row[0]
        if row[0] < MOST_ROWS:
            break
    return moved


def read_usage(wanted: UsageFilter, *, most: int) -> list[UsageSum]:
    """Return at most ``most`` sums in order of time; buckets without usage have none.

    Buckets of an hour and more are read from roll-ups, shorter ones from the calls: the caller
    bounds their range.
    """
    query = CALLS if wanted.width_s < HOUR_S else HOURS
    return [_parse_sum(row) for row in _fetch(query, wanted, most)]


def read_total_nanos(org_id: int) -> int:
    """Return what an organization has ever used."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select coalesce(sum(amount_nanos), 0) from billing_usagehour where org_id = %s",
            [org_id],
        )
        return int(cursor.fetchone()[0])


def _fetch(query: str, wanted: UsageFilter, most: int) -> list[TupleRow]:
    with connection.cursor() as cursor:
        cursor.execute(
            query,
            {
                "org_id": wanted.org_id,
                "since": wanted.since,
                "until": wanted.until,
                "width_s": wanted.width_s,
                **{f"by_{part}": part in wanted.by for part in ("project", "key", "model")},
                "projects": _array(wanted.projects),
                "keys": _array(wanted.keys),
                "models": _array(wanted.models),
                "most": most,
            },
        )
        rows: list[TupleRow] = cursor.fetchall()
    return rows


def _array(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _parse_sum(row: TupleRow) -> UsageSum:
    at, project, key, model, requests, amount_nanos, *counts = row
    usage = Usage(*(int(count) for count in counts))
    return UsageSum(
        at.astimezone(UTC), project, key, model, int(requests), int(amount_nanos), usage
    )

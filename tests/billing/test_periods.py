"""Budget periods: half-open UTC intervals in the tenant's own time zone."""

from datetime import UTC, datetime

import pytest
from django.db import connection


def period(name: str, zone: str, at: str) -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select period_start(%s, %s, %s::timestamptz), period_end(%s, %s, %s::timestamptz)",
            [name, zone, at, name, zone, at],
        )
        start, end = cursor.fetchone()
    return iso(start), iso(end)


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="minutes").removesuffix("+00:00")


@pytest.mark.parametrize(
    ("name", "zone", "at", "start", "end"),
    [
        ("hour", "UTC", "2026-11-21 10:59:59Z", "2026-11-21T10:00", "2026-11-21T11:00"),
        ("day", "UTC", "2026-11-21 00:00:00Z", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("week", "UTC", "2026-11-22 23:59:59Z", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("month", "UTC", "2028-02-29 12:00:00Z", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "Asia/Tokyo", "2026-10-31 15:00:00Z", "2026-10-31T15:00", "2026-11-30T15:00"),
        ("hour", "Asia/Kolkata", "2026-11-21 10:45:00Z", "2026-11-21T10:30", "2026-11-21T11:30"),
    ],
)
def test_a_period_is_the_half_open_interval_around_an_instant(
    database: str, name: str, zone: str, at: str, start: str, end: str
) -> None:
    assert period(name, zone, at) == (start, end)


def test_the_day_of_the_spring_change_has_23_hours_and_of_the_autumn_change_25(
    database: str,
) -> None:
    assert period("day", "Europe/Berlin", "2026-03-29 12:00:00Z") == (
        "2026-03-28T23:00",
        "2026-03-29T22:00",
    )
    assert period("day", "Europe/Berlin", "2026-10-25 12:00:00Z") == (
        "2026-10-24T22:00",
        "2026-10-25T23:00",
    )


def test_the_hour_that_comes_twice_is_two_periods(database: str) -> None:
    first = period("hour", "Europe/Berlin", "2026-10-25 00:30:00Z")
    second = period("hour", "Europe/Berlin", "2026-10-25 01:30:00Z")

    assert first == ("2026-10-25T00:00", "2026-10-25T01:00")
    assert second == ("2026-10-25T01:00", "2026-10-25T02:00")


def test_a_midnight_that_comes_twice_starts_the_day_once(database: str) -> None:
    # in Havana, on 1 November 2026, clocks go from 01:00 back to 00:00
    both = {
        period("day", "America/Havana", "2026-11-01 04:30:00Z"),
        period("day", "America/Havana", "2026-11-01 05:30:00Z"),
    }

    assert both == {("2026-11-01T04:00", "2026-11-02T05:00")}


def anchored(name: str, anchor: int, zone: str, at: str) -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select period_start(%s, %s, %s::timestamptz, %s),"
            " period_end(%s, %s, %s::timestamptz, %s)",
            [name, zone, at, anchor, name, zone, at, anchor],
        )
        start, end = cursor.fetchone()
    return iso(start), iso(end)


@pytest.mark.parametrize(
    ("period_of", "interval"),
    [
        (("day", 6, "UTC", "2026-11-21 05:59Z"), ("2026-11-20T06:00", "2026-11-21T06:00")),
        (("day", 6, "UTC", "2026-11-21 06:00Z"), ("2026-11-21T06:00", "2026-11-22T06:00")),
        (("week", 7, "UTC", "2026-11-21 12:00Z"), ("2026-11-15T00:00", "2026-11-22T00:00")),
        (("week", 7, "UTC", "2026-11-22 00:00Z"), ("2026-11-22T00:00", "2026-11-29T00:00")),
        (("month", 15, "UTC", "2026-11-14 23:59Z"), ("2026-10-15T00:00", "2026-11-15T00:00")),
        (("month", 15, "UTC", "2026-11-15 00:00Z"), ("2026-11-15T00:00", "2026-12-15T00:00")),
        # the last day of a shorter month
        (("month", 31, "UTC", "2027-02-28 00:00Z"), ("2027-02-28T00:00", "2027-03-31T00:00")),
        (("month", 31, "UTC", "2027-03-30 23:59Z"), ("2027-02-28T00:00", "2027-03-31T00:00")),
        (("month", 30, "UTC", "2028-02-29 12:00Z"), ("2028-02-29T00:00", "2028-03-30T00:00")),
        # clocks change in Berlin on 29 March and 25 October 2026
        (
            ("day", 2, "Europe/Berlin", "2026-03-29 01:00Z"),
            ("2026-03-29T01:00", "2026-03-30T00:00"),
        ),
        (
            ("day", 2, "Europe/Berlin", "2026-10-25 00:30Z"),
            ("2026-10-25T00:00", "2026-10-26T01:00"),
        ),
        (
            ("day", 2, "Europe/Berlin", "2026-10-25 01:30Z"),
            ("2026-10-25T00:00", "2026-10-26T01:00"),
        ),
    ],
)
def test_an_anchor_moves_where_periods_begin(
    database: str, period_of: tuple[str, int, str, str], interval: tuple[str, str]
) -> None:
    assert anchored(*period_of) == interval


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("name", "anchor"), [("day", 0), ("day", 3), ("week", 4), ("month", 1), ("month", 31)]
)
def test_periods_follow_each_other_without_a_gap_for_two_years(
    database: str, zone: str, name: str, anchor: int
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) filter (where not (period_start(%(p)s, %(z)s, at, %(a)s) <= at"
            "   and at < period_end(%(p)s, %(z)s, at, %(a)s))),"
            " count(*) filter (where period_start(%(p)s, %(z)s, period_end("
            "   %(p)s, %(z)s, at, %(a)s), %(a)s) <> period_end(%(p)s, %(z)s, at, %(a)s)),"
            " count(distinct period_start(%(p)s, %(z)s, at, %(a)s))"
            " from generate_series("
            "   timestamptz '2026-01-01 00:17Z', '2027-12-31Z', '67 minutes') at",
            {"p": name, "z": zone, "a": anchor},
        )
        outside, gaps, periods = cursor.fetchone()
    assert (outside, gaps) == (0, 0)
    assert periods in {"day": {729, 730, 731}, "week": {105, 106}, "month": {24, 25}}[name]

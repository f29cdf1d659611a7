"""Partitions of usage are made ahead, whatever lies in the default one already."""

from datetime import datetime

import pytest
from django.conf import LazySettings
from django.db import IntegrityError, connection

from billing import tasks
from kernel import clock
from tests.billing.past import use_at
from tests.books import assert_proven
from tests.factories import make_price, make_tenant


@pytest.fixture(autouse=True)
def books(database: str, settings: LazySettings) -> None:
    """The task's own connection leads to this test's database."""
    settings.DATABASE_URL = database


def month_ahead(months: int) -> datetime:
    """The middle of a month to come."""
    over, index = divmod(clock.now().month - 1 + months, 12)
    return clock.now().replace(
        year=clock.now().year + over, month=index + 1, day=15, hour=12, minute=0
    )


def ask(query: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows: list[tuple[object, ...]] = cursor.fetchall()
    return rows


def test_a_row_for_a_month_to_come_moves_to_its_partition_and_keeps_no_other_back(
    database: str,
) -> None:
    acme = make_tenant()
    at = month_ahead(3)
    with connection.cursor() as cursor:
        cursor.execute("drop table if exists billing_usageevent_" + f"{month_ahead(2):%Y%m}")
    request_id = use_at(database, acme, at, make_price(), input_tokens=1, output_tokens=1)
    assert ask("select count(*) from only billing_usageevent_default") == [(1,)]

    made = tasks.make_partitions()

    assert made == 2
    assert ask("select count(*) from billing_usageevent_default") == [(0,)]
    assert ask(f"select request_id from billing_usageevent_{at:%Y%m}") == [(request_id,)]  # noqa: S608 # ours
    assert ask("select request_id from billing_usageevent") == [(request_id,)]
    assert tasks.make_partitions() == 0
    assert_proven(database)


def test_what_was_moved_and_what_stays_is_still_append_only(database: str) -> None:
    acme = make_tenant()
    priced = make_price()
    for months in (3, 6):
        use_at(database, acme, month_ahead(months), priced, input_tokens=1, output_tokens=1)
    tasks.make_partitions()

    for table in ("billing_usageevent_default", f"billing_usageevent_{month_ahead(3):%Y%m}"):
        assert ask(f"select count(*) from {table}") == [(1,)]  # noqa: S608 # ours
        with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(f"update {table} set input = 2")  # noqa: S608 # ours


def test_a_month_that_fails_is_alarmed_and_the_others_are_made(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert database
    first, second = (f"billing_usageevent_{month_ahead(months):%Y%m}" for months in (1, 2))
    with connection.cursor() as cursor:
        cursor.execute(f"drop table {first}, {second}")
        cursor.execute(f"create type {first} as enum ('in its way')")

    assert tasks.make_partitions() == 2

    assert ask(f"select to_regclass('{first}')::text, to_regclass('{second}')::text") == [
        (None, second)
    ]
    (alarm,) = [record for record in caplog.records if "partition_not_made" in str(record.msg)]
    assert f"partition {first} is not made" in str(alarm.msg)

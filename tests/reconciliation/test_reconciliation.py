"""The hourly recount: clean after real use, and each difference named, told and left as it is."""

import json
from datetime import timedelta
from typing import LiteralString

import psycopg
import pytest

from accounts.models import User
from billing import recounts
from billing.budgets import BudgetSpec, add_budget
from billing.database import connect_sync
from billing.expiry import expire_holds
from billing.models import CreditGrant, Hold, OutboxEvent, ProofRun, ReconciliationRun
from billing.notices.telling import tell
from billing.reconciliation import Reconciliation, reconcile
from billing.rollups import roll_up
from billing.tasks import reconcile as reconcile_task
from kernel import clock
from tests.billing.past import use_at
from tests.books import assert_proven, run_tick, settlement
from tests.commands.conftest import here
from tests.commands.manage import Here
from tests.factories import ACTOR, Tenant, hold_request, make_price, make_tenant

pytestmark = pytest.mark.tampers

__all__ = ["here"]


def use(database: str) -> Tenant:
    """Settled and open calls, in budgets in money and tokens, with and without a roll-up."""
    acme = make_tenant()
    add_budget(acme.org, BudgetSpec("month", limit_nanos=10**12), actor=ACTOR)
    add_budget(acme.org, BudgetSpec("lifetime", limit_tokens=10**9), actor=ACTOR)
    priced = make_price()
    for number in range(3):
        use_at(database, acme, clock.now(), priced, input_tokens=7, output_tokens=9)
        if number == 1:
            with connect_sync(database, "roll", statement_timeout_ms=10_000) as connection:
                roll_up(connection)
    run_tick(database, holds=[hold_request(acme, priced[0], 50_000)])
    return acme


def run(database: str, *, hours: int = 3) -> Reconciliation:
    with connect_sync(database, "reconcile", statement_timeout_ms=60_000) as connection:
        return reconcile(connection, drift_percent=25, hours=hours)


def tamper(database: str, statement: LiteralString) -> None:
    with psycopg.connect(database) as owner:
        owner.execute("set session_replication_role = replica")
        for part in statement.split(";"):
            owner.execute(part)


def test_books_in_use_are_clean_and_the_run_is_kept(database: str) -> None:
    use(database)

    done = run(database)

    assert done.differences == []
    kept = ReconciliationRun.objects.get()
    assert (kept.pk, kept.is_clean, kept.hours) == (done.id, True, 3)
    assert [finding["number"] for finding in kept.report] == [
        *(equation.number for equation in recounts.RECOUNTS),
        "D1",
    ]
    assert len(recounts.RECOUNTS) == 17
    assert not OutboxEvent.objects.filter(kind="reconciliation.differs").exists()
    assert_proven(database)


TAMPERING: dict[str, tuple[LiteralString, set[str]]] = {
    "what a window has settled": (
        "update billing_budgetwindow set settled_nanos = settled_nanos + 1",
        {"R1"},
    ),
    "what a window has settled in tokens": (
        "update billing_budgetwindow set settled_tokens = settled_tokens + 1",
        {"R1"},
    ),
    "what a window holds": ("update billing_budgetwindow set held_nanos = 0", {"I6b"}),
    "what an account holds": ("update billing_billingaccount set held_nanos = 1", {"I6a"}),
    "a balance": ("update billing_billingaccount set deferred_nanos = 1", {"I5", "I15"}),
    "what a grant holds": ("update billing_creditgrant set held_nanos = 1", {"I6c"}),
    "what a grant has paid": (
        "update billing_creditgrant set consumed_nanos = consumed_nanos + 1",
        {"R2", "I15"},
    ),
    "a burn": ("delete from billing_grantburn", {"R2"}),
    "the amount of a usage": (
        "update billing_usageevent set amount_nanos = amount_nanos - 1",
        {"R1", "R3", "R4", "R9"},
    ),
    "an entry of the ledger": (
        (
            "update billing_ledgerentry set amount_nanos = amount_nanos + 1 where txn_id in"
            " (select ledger_txn_id from billing_usageevent)"
        ),
        {"R3"},
    ),
    "a roll-up": ("update billing_usagerollup set requests = requests + 1", {"R4"}),
    "the tail of the roll-ups": ("delete from billing_usagetail", {"R4"}),
    "an open hold that is old": (
        "update billing_hold set expires_at = now() - interval '1 hour' where state = 'held'",
        {"I7"},
    ),
    "an event nobody dispatched": (
        (
            "insert into billing_outboxevent (kind, payload, created_at)"
            " values ('topup.paid', '{}', now() - interval '11 minutes')"
        ),
        {"R7"},
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_a_difference_is_named_kept_and_told_to_operators(database: str, what: str) -> None:
    use(database)
    statement, expected = TAMPERING[what]
    tamper(database, statement)

    done = run(database)

    assert {finding.number for finding in done.findings if finding.rows} == expected
    kept = ReconciliationRun.objects.get()
    assert kept.is_clean is False
    told = OutboxEvent.objects.get(kind="reconciliation.differs")
    assert (told.org, told.payload["run"]) == (None, done.id)
    assert told.payload["differences"] == len(done.differences) > 0


def test_the_rows_of_a_difference_stand_in_the_letter_to_operators(
    database: str, mailoutbox: list[object]
) -> None:
    acme = use(database)
    User.objects.create_superuser("operator@example.com")
    tamper(database, "update billing_billingaccount set held_nanos = 1")

    run(database)
    tell()

    (letter,) = mailoutbox
    assert f"- I6a {acme.org.public_id}: 1 ≠ 50000" in str(getattr(letter, "body", ""))


def test_nothing_is_repaired(database: str) -> None:
    use(database)
    tamper(database, "update billing_creditgrant set consumed_nanos = consumed_nanos + 1")
    before = CreditGrant.objects.values_list("consumed_nanos", flat=True).get()

    run(database)
    run(database)

    assert CreditGrant.objects.values_list("consumed_nanos", flat=True).get() == before
    assert ReconciliationRun.objects.filter(is_clean=False).count() == 2


def test_usage_without_a_partition_of_its_month_is_named(database: str) -> None:
    acme, priced = make_tenant(), make_price()
    with psycopg.connect(database) as owner:
        owner.execute("alter table billing_priceversion disable trigger append_only")
        owner.execute("update billing_priceversion set effective_from = 'epoch'")
        owner.execute("alter table billing_priceversion enable trigger append_only")
    at = clock.now() - timedelta(days=400)
    first = use_at(database, acme, at, priced, input_tokens=7, output_tokens=9)

    done = run(database)

    assert done.differences == [
        f"R5 usage of {at:%Y-%m} in no partition, first {first}: 1 ≠ 0",
    ]


def test_a_month_ahead_without_its_partition_is_named(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        row = owner.execute(
            "select to_char(now() at time zone 'UTC' + interval '1 month', 'YYYYMM')"
        ).fetchone()
        assert row is not None
        owner.execute(f"drop table billing_usageevent_{row[0]}")

    assert run(database).differences == [f"R6 partition billing_usageevent_{row[0]}: 0 ≠ 1"]


def test_what_moved_before_the_hours_asked_for_is_left_out(database: str) -> None:
    acme, at = make_tenant(), clock.now() - timedelta(hours=5)
    use_at(database, acme, at, make_price(), input_tokens=7, output_tokens=9)
    tamper(database, "update billing_usagetail set amount_nanos = amount_nanos - 1")

    found = [
        {finding.number for finding in run(database, hours=hours).findings if finding.rows}
        for hours in (1, 8)
    ]

    assert ["R4" in numbers for numbers in found] == [False, True]


def test_the_task_logs_each_difference(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(database)
    monkeypatch.setattr("django.conf.settings.DATABASE_URL", database)
    assert reconcile_task() is True
    tamper(database, "update billing_billingaccount set held_nanos = 1")

    assert reconcile_task() is False


def test_the_command_runs_it_now_and_lists_the_history(
    here: Here, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.DATABASE_URL", database)
    use(database)

    assert here("reconcile", "--json").json["clean"] is True
    tamper(database, "update billing_billingaccount set held_nanos = 1")
    said = here("reconcile")
    assert said.code == 1
    assert "DIFF I6a " in said.out
    assert "NOT clean: run 2 over 3 h in " in said.out
    history = here("reconcile", "history", "--json").json
    assert [(each["run"], each["clean"]) for each in history] == [(2, False), (1, True)]
    named = {f["number"]: f["rows"] for f in history[0]["findings"] if f["rows"]}
    assert list(named) == ["I6a"]
    assert json.dumps(named).count("50000") == 1
    assert here.refused("reconcile", "--hours", "1000").startswith("744 hours at most")


def test_expired_calls_above_one_in_a_thousand_are_told(database: str) -> None:
    acme = use(database)
    version, _ = make_price("other")
    run_tick(database, holds=[hold_request(acme, version, 5_000)])
    Hold.objects.filter(model="other").update(expires_at=clock.now() - timedelta(seconds=1))
    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        assert expire_holds(connection) == 1

    assert run(database).differences == ["R8 calls expired in the last hour: 1 ≠ 4"]
    assert OutboxEvent.objects.filter(kind="reconciliation.differs").count() == 1


def test_what_came_to_more_than_was_held_is_told_with_its_amount(database: str) -> None:
    acme = use(database)
    version, price = make_price("other", input_usd="1.00")
    request = hold_request(acme, version, 5_000)
    run_tick(database, holds=[request])
    closing = settlement(request.request_id, price, input_tokens=9, output_tokens=0)
    run_tick(database, closings=[closing])

    assert run(database).differences == [
        f"R9 1 calls of test other from {request.request_id}: 9000 ≠ 5000"
    ]


def test_a_call_that_began_before_a_run_and_ended_after_it_is_told_by_the_next_and_no_later_one(
    database: str,
) -> None:
    acme = use(database)
    version, price = make_price("other", input_usd="1.00")
    request = hold_request(acme, version, 5_000)
    run_tick(database, holds=[request])
    Hold.objects.filter(model="other").update(created_at=clock.now() - timedelta(hours=5))
    run(database)
    ReconciliationRun.objects.update(at=clock.now() - timedelta(hours=7))
    closing = settlement(request.request_id, price, input_tokens=9, output_tokens=0)
    run_tick(database, closings=[closing])

    next_run = run(database)
    # the same as if the later one came an hour later
    Hold.objects.filter(model="other").update(closed_at=clock.now() - timedelta(hours=1))
    later_run = run(database)

    told = f"R9 1 calls of test other from {request.request_id}: 9000 ≠ 5000"
    assert told in next_run.differences
    assert told not in later_run.differences


@pytest.mark.parametrize(
    ("recounted", "proven", "told"),
    [(150, 160, True), (150, None, True), (150, 140, False), (90, None, False), (600, 610, False)],
)
def test_two_hours_of_recounts_without_a_proof_that_ended_are_told(
    database: str, recounted: int, proven: int | None, *, told: bool
) -> None:
    at, seen = clock.now(), {"is_clean": True, "duration_ms": 1}
    if proven is not None:
        ProofRun.objects.create(at=at - timedelta(minutes=proven), report={"equations": []}, **seen)
    then = at - timedelta(minutes=recounted)
    ReconciliationRun.objects.create(at=then, hours=3, report=[], **seen)

    (finding,) = [each for each in run(database).findings if each.number == "R10"]

    assert [row[1:] for row in finding.rows] == [["0", "1"]] * told

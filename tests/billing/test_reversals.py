"""A call that runs anew because its answer is not there is paid once."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from billing.budgets import create_budget
from billing.database import connect_sync
from billing.expiry import purge_answers
from billing.holds import HoldRequest, Outcome
from billing.models import (
    BudgetWindow,
    CreditGrant,
    GrantBurn,
    Hold,
    IdempotentAnswer,
    LedgerTransaction,
    NetUsage,
    UsageReversal,
)
from billing.pricing import Price
from billing.rollups import read_total_nanos
from kernel import clock
from tests.books import assert_proven, run_tick, settlement
from tests.factories import Tenant, hold_request, make_price, make_tenant


def keyed(request: HoldRequest, body: str = "same") -> HoldRequest:
    return request._replace(idem_key="alice-1", idem_body=body)


def keep_answer(tenant: Tenant, at: datetime, key: str = "alice-1") -> None:
    IdempotentAnswer.objects.create(
        org_id=tenant.org.pk,
        idem_key=key,
        idem_body="same",
        is_stream=False,
        sealed=b"sealed",
        created_at=at,
    )


def end(database: str, request: HoldRequest, price: Price, outcome: Outcome) -> None:
    closing = settlement(request.request_id, price, input_tokens=0, output_tokens=3)
    run_tick(database, closings=[replace(closing, outcome=outcome)])


def call(database: str, tenant: Tenant, outcome: Outcome) -> tuple[HoldRequest, HoldRequest]:
    """End a call in some way and send it again under its key; the second is left running."""
    version, price = make_price("m", output_usd="1.00")
    first, again = (keyed(hold_request(tenant, version, 5_000)) for _ in range(2))
    run_tick(database, holds=[first])
    end(database, first, price, outcome)
    answer = run_tick(database, holds=[again])
    assert answer.held == {again.request_id: None}
    end(database, again, price, Outcome.COMPLETED)
    return first, again


@pytest.mark.parametrize(
    "outcome",
    [Outcome.INTERRUPTED, Outcome.TRUNCATED, Outcome.COMPLETED, Outcome.BUDGET_EXHAUSTED],
)
def test_a_charge_without_an_answer_to_give_again_is_reversed_when_the_call_runs_anew(
    database: str, outcome: Outcome
) -> None:
    acme = make_tenant(credit_usd="0.00001")
    create_budget(org=acme.org, limit_nanos=9_000, period="month", actor="test")

    first, again = call(database, acme, outcome)

    reversal = UsageReversal.objects.get()
    assert (reversal.request_id, reversal.by_request_id) == (first.request_id, again.request_id)
    assert reversal.amount_nanos == 3_000
    assert acme.account.deferred_nanos == 10_000 - 3_000
    assert BudgetWindow.objects.get().settled_nanos == 3_000
    assert CreditGrant.objects.get().consumed_nanos == 3_000
    assert [burn.amount_nanos for burn in GrantBurn.objects.order_by("id")] == [
        3_000,
        -3_000,
        3_000,
    ]
    assert read_total_nanos(acme.org.pk) == 3_000
    assert sum(row.amount_nanos for row in NetUsage.objects.all()) == 3_000
    assert_proven(database)


def test_what_the_caller_left_stays_charged(database: str) -> None:
    acme = make_tenant(credit_usd="0.00001")

    call(database, acme, Outcome.DISCONNECTED)

    assert UsageReversal.objects.count() == 0
    assert acme.account.deferred_nanos == 10_000 - 6_000
    assert_proven(database)


def test_a_reversal_on_account_takes_back_what_is_not_yet_billed(database: str) -> None:
    acme = make_tenant(credit_usd="0.000001", mode="hybrid", credit_limit_usd="1")

    call(database, acme, Outcome.INTERRUPTED)

    account = acme.account
    assert (account.deferred_nanos, account.unbilled_nanos) == (0, 2_000)
    kinds = LedgerTransaction.objects.filter(org=acme.org).order_by("id")
    assert [txn.kind for txn in kinds] == ["credit", "usage", "reversal", "usage"]
    assert_proven(database)


def test_a_call_whose_answer_is_kept_is_neither_run_nor_reversed(database: str) -> None:
    acme = make_tenant(credit_usd="0.00001")
    version, price = make_price("m", output_usd="1.00")
    first = keyed(hold_request(acme, version, 5_000))
    run_tick(database, holds=[first])
    keep_answer(acme, clock.now())
    end(database, first, price, Outcome.COMPLETED)

    answer = run_tick(database, holds=[keyed(hold_request(acme, version, 5_000))])

    assert [refusal and refusal.why for refusal in answer.held.values()] == ["duplicate"]
    assert UsageReversal.objects.count() == 0
    assert acme.account.deferred_nanos == 10_000 - 3_000


@pytest.mark.parametrize(("hours", "why"), [(23, "reused"), (25, None)])
def test_a_key_without_a_stored_answer_is_free_after_a_day(
    database: str, hours: int, why: str | None
) -> None:
    acme = make_tenant(credit_usd="0.00001")
    version, price = make_price("m", output_usd="1.00")
    first = keyed(hold_request(acme, version, 5_000))
    run_tick(database, holds=[first])
    end(database, first, price, Outcome.COMPLETED)
    Hold.objects.update(closed_at=clock.now() - timedelta(hours=hours))

    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        freed = purge_answers(connection)
    answer = run_tick(database, holds=[keyed(hold_request(acme, version, 5_000), "other")])

    assert freed == (why is None)
    assert [refusal and refusal.why for refusal in answer.held.values()] == [why]
    assert acme.account.deferred_nanos == 10_000 - 3_000
    assert UsageReversal.objects.count() == 0


@pytest.mark.parametrize(("hours", "why"), [(23, "reused"), (25, None)])
@pytest.mark.parametrize("is_kept", [True, False], ids=["answer kept", "none kept"])
def test_after_a_day_a_key_is_free_though_nobody_has_purged_it(
    database: str, hours: int, why: str | None, *, is_kept: bool
) -> None:
    acme = make_tenant(credit_usd="0.00001")
    version, price = make_price("m", output_usd="1.00")
    first = keyed(hold_request(acme, version, 5_000))
    run_tick(database, holds=[first])
    at = clock.now() - timedelta(hours=hours)
    if is_kept:
        keep_answer(acme, at)
    end(database, first, price, Outcome.COMPLETED)
    Hold.objects.update(closed_at=at)

    answer = run_tick(database, holds=[keyed(hold_request(acme, version, 5_000), "other")])

    assert [refusal and refusal.why for refusal in answer.held.values()] == [why]
    assert IdempotentAnswer.objects.count() == (is_kept and why is not None)
    assert UsageReversal.objects.count() == 0
    assert acme.account.deferred_nanos == 10_000 - 3_000


def test_however_many_answers_are_a_day_old_one_run_forgets_them_all(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.expiry.CHUNK", 2)
    acme, old = make_tenant(), clock.now() - timedelta(hours=25)
    for number in range(99):
        keep_answer(acme, old, f"alice-{number}")
    keep_answer(acme, clock.now(), "alice-99")

    with connect_sync(database, "test", statement_timeout_ms=5_000) as connection:
        assert purge_answers(connection) == 99

    assert IdempotentAnswer.objects.get().idem_key == "alice-99"


def test_another_body_under_the_key_reverses_nothing(database: str) -> None:
    acme = make_tenant(credit_usd="0.00001")
    version, price = make_price("m", output_usd="1.00")
    first = keyed(hold_request(acme, version, 5_000))
    run_tick(database, holds=[first])
    end(database, first, price, Outcome.INTERRUPTED)

    answer = run_tick(database, holds=[keyed(hold_request(acme, version, 5_000), "other")])

    assert [refusal and refusal.why for refusal in answer.held.values()] == ["reused"]
    assert UsageReversal.objects.count() == 0
    assert_proven(database)

"""Holds: a hard limit is hard, and a refusal moves nothing."""

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.keys import revoke_key
from billing.budgets import change_budget_limit, create_budget
from billing.holds import Act, Closing, Extension
from billing.models import BillingAccount, BudgetWindow, Hold, LedgerEntry, UsageEvent
from kernel.ids import new_request_id
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant


def test_a_settled_hold_becomes_one_usage_row_and_one_balanced_transaction(database: str) -> None:
    acme = make_tenant(credit_usd="1")
    version, price = make_price()
    request = hold_request(acme, version, 1_000_000)

    held = run_tick(database, holds=[request])
    settled = run_tick(
        database,
        closings=[settlement(request.request_id, price, input_tokens=7, output_tokens=9)],
    )

    assert held.held == {request.request_id: None}
    assert settled.closed == {request.request_id: "settled"}
    usage = UsageEvent.objects.get(request_id=request.request_id)
    assert (usage.input, usage.output, usage.amount_nanos) == (7, 9, 25_000)
    entries = LedgerEntry.objects.filter(txn_id=usage.ledger_txn_id).order_by("seq")
    assert [(e.account.code, e.amount_nanos) for e in entries] == [
        ("deferred_revenue", 25_000),
        ("usage_revenue", -25_000),
    ]
    account = acme.account
    assert (account.deferred_nanos, account.held_nanos) == (1_000_000_000 - 25_000, 0)
    assert_proven(database)


def test_settling_twice_is_settling_once(database: str) -> None:
    acme = make_tenant(credit_usd="1")
    version, price = make_price()
    request = hold_request(acme, version, 1_000_000)
    closing = settlement(request.request_id, price, input_tokens=1, output_tokens=1)

    run_tick(database, holds=[request])
    answers = [run_tick(database, closings=[closing]).closed for _ in range(3)]

    assert [answer[request.request_id] for answer in answers] == [
        "settled",
        "already settled",
        "already settled",
    ]
    assert acme.account.deferred_nanos == 1_000_000_000 - 3_000
    assert_proven(database)


def test_a_charge_never_exceeds_its_hold(database: str) -> None:
    acme = make_tenant(credit_usd="1")
    version, price = make_price()
    request = hold_request(acme, version, 1_000)

    run_tick(database, holds=[request])
    run_tick(
        database,
        closings=[settlement(request.request_id, price, input_tokens=500, output_tokens=500)],
    )

    usage = UsageEvent.objects.get(request_id=request.request_id)
    assert (usage.list_nanos, usage.amount_nanos) == (1_500_000, 1_000)
    assert_proven(database)


def test_a_hold_beyond_the_credit_is_refused_with_what_is_available_and_nothing_moves(
    database: str,
) -> None:
    acme = make_tenant(credit_usd="0.000001")
    version, _ = make_price()

    answer = run_tick(database, holds=[hold_request(acme, version, 1_001)])

    (refusal,) = answer.held.values()
    assert refusal is not None
    assert (refusal.why, refusal.facts["needed"], refusal.facts["available"]) == (
        "credit",
        1_001,
        1_000,
    )
    assert acme.account.held_nanos == 0
    assert Hold.objects.count() == 0
    assert_proven(database)


def test_of_a_batch_exactly_as_many_pass_as_the_credit_covers_in_order(database: str) -> None:
    acme = make_tenant(credit_usd="0.000001")
    rich = make_tenant("Globex", credit_usd="1")
    version, _ = make_price()
    requests = [hold_request(acme, version, 300) for _ in range(5)]
    neighbour = hold_request(rich, version, 300)

    answer = run_tick(database, holds=[*requests[:2], neighbour, *requests[2:]])

    passed = [answer.held[request.request_id] is None for request in requests]
    assert passed == [True, True, True, False, False]
    assert answer.held[neighbour.request_id] is None
    assert acme.account.held_nanos == 900
    assert_proven(database)


def test_a_small_request_passes_after_a_large_one_was_refused(database: str) -> None:
    acme = make_tenant(credit_usd="0.000001")
    version, _ = make_price()
    large, small = hold_request(acme, version, 1_001), hold_request(acme, version, 1_000)

    answer = run_tick(database, holds=[large, small])

    assert answer.held[large.request_id] is not None
    assert answer.held[small.request_id] is None


@pytest.mark.parametrize("level", ["organization", "project", "key"])
def test_a_budget_refuses_on_its_level_and_says_which(database: str, level: str) -> None:
    acme = make_tenant()
    version, _ = make_price()
    create_budget(
        org=acme.org,
        project=acme.project if level == "project" else None,
        key=acme.key if level == "key" else None,
        limit_nanos=1_000,
        period="day",
        actor="test",
    )

    first = run_tick(database, holds=[hold_request(acme, version, 600)])
    second = run_tick(database, holds=[hold_request(acme, version, 600)])

    assert list(first.held.values()) == [None]
    (refusal,) = second.held.values()
    assert refusal is not None
    assert (refusal.why, refusal.facts["level"], refusal.facts["held"]) == ("budget", level, 600)
    assert "budget" in refusal.as_error().message
    assert BudgetWindow.objects.get().held_nanos == 600
    assert_proven(database)


def test_a_budget_of_another_key_does_not_bind(database: str) -> None:
    acme = make_tenant()
    other = make_tenant("Globex")
    version, _ = make_price()
    create_budget(org=acme.org, key=acme.key, limit_nanos=0, period="month", actor="test")

    answer = run_tick(database, holds=[hold_request(other, version, 600)])

    assert list(answer.held.values()) == [None]


def test_lowering_a_limit_below_what_is_used_stops_new_spend_and_harms_no_running_call(
    database: str,
) -> None:
    acme = make_tenant()
    version, price = make_price()
    budget = create_budget(
        org=acme.org, key=acme.key, limit_nanos=10_000, period="lifetime", actor="test"
    )
    running = hold_request(acme, version, 9_000)
    run_tick(database, holds=[running])

    change_budget_limit(budget, 100, actor="test")
    refused = run_tick(database, holds=[hold_request(acme, version, 1)])
    settled = run_tick(
        database, closings=[settlement(running.request_id, price, input_tokens=4, output_tokens=2)]
    )

    assert [refusal is None for refusal in refused.held.values()] == [False]
    assert settled.closed == {running.request_id: "settled"}
    assert BudgetWindow.objects.get().settled_nanos == 8_000
    assert_proven(database)


def test_an_extension_is_granted_only_where_every_level_has_room(database: str) -> None:
    acme = make_tenant(credit_usd="0.000010")
    version, _ = make_price()
    create_budget(org=acme.org, key=acme.key, limit_nanos=5_000, period="day", actor="test")
    request = hold_request(acme, version, 1_000)
    run_tick(database, holds=[request])

    within = run_tick(database, extensions=[Extension(request.request_id, 4_000)])
    beyond = run_tick(database, extensions=[Extension(request.request_id, 1)])

    assert within.extended == {request.request_id: True}
    assert beyond.extended == {request.request_id: False}
    assert Hold.objects.get().amount_nanos == 5_000
    assert acme.account.held_nanos == 5_000
    assert_proven(database)


def test_a_revoked_key_can_never_start_new_spend(database: str) -> None:
    acme = make_tenant()
    version, _ = make_price()
    revoke_key(acme.key, actor="test")

    answer = run_tick(database, holds=[hold_request(acme, version, 1)])

    (refusal,) = answer.held.values()
    assert refusal is not None
    assert refusal.why == "key"
    assert refusal.as_error().http_status == 401


def test_a_release_gives_everything_back_and_leaves_no_usage(database: str) -> None:
    acme = make_tenant()
    version, _ = make_price()
    request = hold_request(acme, version, 5_000)

    run_tick(database, holds=[request])
    released = run_tick(database, closings=[Closing(request.request_id, Act.RELEASE)])

    assert released.closed == {request.request_id: "released"}
    assert acme.account.held_nanos == 0
    assert UsageEvent.objects.count() == 0
    assert_proven(database)


def test_a_settlement_without_a_hold_is_reported_missing_and_invents_nothing(database: str) -> None:
    make_tenant()
    _, price = make_price()

    answer = run_tick(
        database, closings=[settlement(new_request_id(), price, input_tokens=1, output_tokens=1)]
    )

    assert list(answer.closed.values()) == ["missing"]
    assert UsageEvent.objects.count() == 0
    assert_proven(database)


def test_postpaid_usage_goes_on_account_up_to_the_credit_limit(database: str) -> None:
    acme = make_tenant(mode="postpaid", credit_usd="0", credit_limit_usd="0.00001")
    version, price = make_price()
    request = hold_request(acme, version, 10_000)

    held = run_tick(database, holds=[request])
    refused = run_tick(database, holds=[hold_request(acme, version, 1)])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=1, output_tokens=1)]
    )

    assert list(held.held.values()) == [None]
    assert [refusal is None for refusal in refused.held.values()] == [False]
    assert acme.account.unbilled_nanos == 3_000
    assert_proven(database)


def test_hybrid_usage_burns_credit_first_and_the_rest_goes_on_account(database: str) -> None:
    acme = make_tenant(mode="hybrid", credit_usd="0.000002", credit_limit_usd="0.00001")
    version, price = make_price()
    request = hold_request(acme, version, 12_000)

    run_tick(database, holds=[request])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=1, output_tokens=1)]
    )

    account = acme.account
    assert (account.deferred_nanos, account.unbilled_nanos) == (0, 1_000)
    assert_proven(database)


def test_500_concurrent_holds_on_one_small_balance_overspend_nothing(database: str) -> None:
    acme = make_tenant(credit_usd="0.000100")
    version, _ = make_price()
    passed: list[bool] = []

    def hammer() -> None:
        for _ in range(20):
            requests = [hold_request(acme, version, 700) for _ in range(5)]
            answer = run_tick(database, holds=requests, owner=threading.current_thread().name)
            passed.extend(refusal is None for refusal in answer.held.values())

    threads = [threading.Thread(target=hammer) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(passed), sum(passed)) == (500, 100_000 // 700)
    assert acme.account.held_nanos == 100_000 // 700 * 700
    assert_proven(database)


@pytest.mark.parametrize(
    "statement",
    [
        "update billing_ledgerentry set amount_nanos = 1",
        "delete from billing_ledgerentry",
        "truncate billing_ledgerentry cascade",
        "update billing_ledgertransaction set kind = 'x'",
        "update billing_usageevent set amount_nanos = 0",
        "delete from billing_usageid",
        "update billing_priceversion set input_nanos = 0",
        "delete from accounts_auditevent",
    ],
)
def test_the_database_refuses_to_change_what_is_written(database: str, statement: str) -> None:
    acme = make_tenant()
    version, price = make_price()
    request = hold_request(acme, version, 5_000)
    run_tick(database, holds=[request])
    run_tick(
        database, closings=[settlement(request.request_id, price, input_tokens=1, output_tokens=1)]
    )

    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_transaction_that_does_not_balance_cannot_commit(database: str) -> None:
    acme = make_tenant()

    with (
        pytest.raises(IntegrityError, match="does not balance"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "select ledger_post(%s, 'odd', 'odd', now(), jsonb_build_array(jsonb_build_array("
            "(select min(id) from billing_ledgeraccount), 5)))",
            [acme.org.pk],
        )
    assert BillingAccount.objects.count() == 1
    assert_proven(database)

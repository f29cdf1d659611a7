"""A thousand calls at once over four processes: nobody spends what is not there."""

import time
from collections.abc import Sequence
from typing import LiteralString

import redis
from django.db.models import Sum

from billing.budgets import create_budget
from billing.models import BudgetWindow, Hold, UsageEvent
from tests.books import Onlooker
from tests.calls import chat_body, post, transcript, wait_for
from tests.factories import ACTOR, Tenant, make_tenant
from tests.faults.conftest import Field, Siege
from tests.faults.crowd import Caller, Crowd
from tests.servers import Server

CALLERS = 1000
EARLY = 200
PROCESSES = 4


def no_open_holds() -> bool:
    return not Hold.objects.filter(state="held").exists()


def cost_of_a_hold(field: Field, url: str, max_tokens: int) -> int:
    """Return what one call of this size sets aside, as the platform itself finds."""
    probe = make_tenant("Probe")
    body = chat_body(stream=True, max_tokens=max_tokens, mock={"chunks": 1}, user="probe")
    assert post(url, probe.key_text, body).status_code == 200
    nanos: int = wait_for(Hold.objects.filter(org_id=probe.org.pk).first).amount_nanos
    return nanos


def spent_by(tenant: Tenant) -> int:
    rows = UsageEvent.objects.filter(org_id=tenant.org.pk)
    spent: int = rows.aggregate(spent=Sum("amount_nanos"))["spent"] or 0
    return spent


def test_of_1000_concurrent_calls_over_four_processes_exactly_as_many_pass_as_are_covered(
    field: Field,
) -> None:
    # on a machine of CI the crowd's last hold may take longer than a second
    apis = field.start_apis(PROCESSES, HOLD_WAIT_MS="5000")
    hold_nanos = cost_of_a_hold(field, apis[0].url, 10)
    covered = 137
    balance_nanos = hold_nanos * covered + hold_nanos - 1
    poor = make_tenant("Poor", credit_usd=f"0.{balance_nanos:09d}")

    # no call ends before all have been decided
    script = {"chunks": 10, "delay_ms": 5000}
    crowd = Crowd(
        [api.port for api in apis],
        poor.key_text,
        range(CALLERS),
        lambda _: chat_body("mock", stream=True, max_tokens=10, mock=script),
    ).start()
    wait_for(lambda: all(c.status for c in crowd.callers), seconds=40, what="all answers' heads")
    held_nanos = poor.account.held_nanos
    crowd.leave()
    callers = crowd.join()

    statuses = [caller.status for caller in callers]
    assert (statuses.count(200), statuses.count(402)) == (covered, CALLERS - covered)
    assert [caller.refusals for caller in callers] == [0] * CALLERS
    assert held_nanos == hold_nanos * covered
    wait_for(no_open_holds)
    assert poor.account.deferred_nanos == balance_nanos - spent_by(poor) >= 0
    field.prove()


CREDIT: LiteralString = (
    "select deferred_nanos - held_nanos from billing_billingaccount where org_id = %s"
)
BUDGET: LiteralString = (
    "select min(b.limit_nanos - w.settled_nanos - w.held_nanos) from billing_budgetwindow w"
    " join billing_budget b on b.id = w.budget_id where b.org_id = %s"
)


# what is granted to those who wait no more goes back, and meanwhile others hear of no room;
# on a machine of CI few of a crowd would be held for in a second
PATIENT = {"HOLD_WAIT_MS": "5000"}
COVERED = 300


def call_through_faults(siege: Siege, apis: Sequence[Server], tenant: Tenant) -> list[Caller]:
    """A thousand call while a process dies, Redis is flushed and PostgreSQL freezes."""

    def crowd(numbers: range) -> Crowd:
        return Crowd(
            [api.port for api in apis],
            tenant.key_text,
            numbers,
            lambda number: chat_body(
                "mock",
                stream=True,
                max_tokens=60,
                user=f"caller-{number}",
                mock={"chunks": 40, "delay_ms": 200},
            ),
        ).start()

    # a process may hold for all its callers in one batch, and leave nothing for the others'
    early = crowd(range(EARLY))
    wait_for(lambda: many_hear_of_each(early.callers), seconds=60, what="streams at every process")
    late = crowd(range(EARLY, CALLERS))
    wait_for(lambda: any(c.status for c in late.callers), seconds=30, what="an answer's head")
    apis[1].kill()
    with redis.Redis.from_url(siege.services.redis_url) as store:
        store.flushall()
    siege.services.postgres.freeze()
    time.sleep(2.5)
    siege.services.postgres.thaw()
    siege.start_api(port=apis[1].port, **PATIENT)
    callers = [*early.join(), *late.join()]
    wait_for(no_open_holds, seconds=30)
    return callers


def test_1000_calls_while_a_process_dies_redis_is_flushed_and_postgres_freezes_overspend_nothing(
    siege: Siege,
) -> None:
    apis = siege.start_apis(PROCESSES, **PATIENT)
    balance_nanos = cost_of_a_hold(siege, siege.api.url, 60) * COVERED
    poor = make_tenant("Poor", credit_usd=f"{balance_nanos // 10**9}.{balance_nanos % 10**9:09d}")

    with Onlooker(siege.services.database_url, CREDIT, poor.org.pk, every_s=0.05) as seen:
        callers = call_through_faults(siege, apis, poor)

    assert seen.looks > 20
    assert seen.least is not None
    assert seen.least >= 0
    assert poor.account.deferred_nanos == balance_nanos - spent_by(poor) >= 0
    assert_charged_once_and_never_more_than_relayed(siege, poor, callers)
    siege.prove()


def test_1000_calls_through_the_same_faults_overspend_no_hard_budget_within_plenty_of_credit(
    siege: Siege,
) -> None:
    apis = siege.start_apis(PROCESSES, **PATIENT)
    limit_nanos = cost_of_a_hold(siege, siege.api.url, 60) * COVERED
    frugal = make_tenant("Frugal")
    create_budget(
        org=frugal.org, key=frugal.key, limit_nanos=limit_nanos, period="lifetime", actor=ACTOR
    )
    create_budget(org=frugal.org, limit_nanos=10**12, period="month", actor=ACTOR)

    with Onlooker(siege.services.database_url, BUDGET, frugal.org.pk, every_s=0.05) as seen:
        callers = call_through_faults(siege, apis, frugal)

    assert any(caller.status == 429 for caller in callers), "the budget was in the way"
    assert not any(caller.status == 402 for caller in callers), "the credit never was"
    assert seen.looks > 20
    assert seen.least is not None
    assert seen.least >= 0
    window = BudgetWindow.objects.get(budget__key=frugal.key)
    assert (window.settled_nanos, window.held_nanos) == (spent_by(frugal), 0)
    assert window.settled_nanos <= limit_nanos
    assert_charged_once_and_never_more_than_relayed(siege, frugal, callers)
    siege.prove()


def many_hear_of_each(callers: Sequence[Caller]) -> bool:
    """Whether streams are open at every process, and more than a hundred in all."""
    hearing = [caller.number % PROCESSES for caller in callers if caller.words > 3]
    return len(hearing) > 100 and len(set(hearing)) == PROCESSES


def assert_charged_once_and_never_more_than_relayed(
    field: Field, tenant: Tenant, callers: list[Caller]
) -> None:
    rows = {row.request_id: row for row in UsageEvent.objects.filter(org_id=tenant.org.pk)}
    asked = [e for e in transcript(field.upstream.url) if e["user"].startswith("caller-")]
    sent = {e["user"]: e["chunks_sent"] for e in asked}

    assert len(sent) == len(asked), "one upstream call for one caller"
    assert len(rows) <= len(sent)
    served = [caller for caller in callers if caller.status == 200]
    whole = [caller for caller in served if caller.is_whole]
    assert len(whole) > 100
    assert len(whole) < len(served), "the killed process broke some streams off"
    for caller in served:
        row = rows.pop(caller.request_id, None)
        charged = 0 if row is None else row.output
        if caller.is_whole:
            assert charged == caller.words == 40
        else:
            assert charged <= sent[f"caller-{caller.number}"]
    # what is left was relayed by the killed process, and its head was still on the way
    assert len(rows) <= sum(caller.status == 0 for caller in callers)

"""Hard budgets within each other, asked by many at once: the tightest binds, to the last unit."""

import random
import threading
from collections.abc import Callable
from typing import LiteralString

import pytest

from billing.budgets import BudgetSpec, add_budget
from billing.holds import Extension, HoldRequest, Refusal
from billing.models import Budget, BudgetWindow, PriceVersion
from billing.pricing import Price
from tests.books import Onlooker, assert_proven, run_tick, settlement
from tests.factories import ACTOR, Tenant, hold_request, make_price, make_tenant

LEVELS = ("organization", "project", "key", "key and model")
NANOS, TOKENS = 700, 7
COST = {"limit_nanos": NANOS, "limit_tokens": TOKENS}
WIDE = 10**12
THREADS = 5


def nest(tenant: Tenant, tightest: str, unit: str, limit: int) -> Budget:
    """Make a budget in money and one in tokens on every level; return the one that binds."""
    made = {}
    for level in LEVELS:
        for each in COST:
            most = limit if (level, each) == (tightest, unit) else WIDE
            spec = BudgetSpec(
                "lifetime",
                limit_nanos=most if each == "limit_nanos" else None,
                limit_tokens=most if each == "limit_tokens" else None,
                project=tenant.project if level == "project" else None,
                key=tenant.key if level.startswith("key") else None,
                model="m" if level == "key and model" else "",
            )
            made[level, each] = add_budget(tenant.org, spec, actor=ACTOR)
    return made[tightest, unit]


def asking(tenant: Tenant, version: PriceVersion, nanos: int, tokens: int) -> HoldRequest:
    return hold_request(tenant, version, nanos)._replace(amount_tokens=tokens)


def at_once(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("unit", COST)
@pytest.mark.parametrize("tightest", LEVELS)
def test_of_500_holds_at_once_as_many_pass_as_the_tightest_of_nested_budgets_covers(
    database: str, tightest: str, unit: str
) -> None:
    acme = make_tenant()
    version, _ = make_price()
    covered, rest = 137, COST[unit] - 1
    binding = nest(acme, tightest, unit, covered * COST[unit] + rest)
    answers: list[Refusal | None] = []

    def hammer(number: int) -> None:
        for _ in range(20):
            holds = [asking(acme, version, NANOS, TOKENS) for _ in range(5)]
            answers.extend(run_tick(database, holds=holds, owner=f"{number}").held.values())

    at_once(hammer)
    refusals = [refusal for refusal in answers if refusal is not None]
    windows = {(window.held_nanos, window.held_tokens) for window in BudgetWindow.objects.all()}
    # what is left is there to the last unit, and no unit more
    last = (rest, 0) if unit == "limit_nanos" else (1, rest)
    filled = run_tick(database, holds=[asking(acme, version, *last)])
    beyond = run_tick(database, holds=[asking(acme, version, 1, 1)])

    assert (len(answers), len(refusals)) == (500, 500 - covered)
    assert {(refusal.why, refusal.facts["budget"]) for refusal in refusals} == {
        ("budget", binding.pk)
    }
    assert BudgetWindow.objects.count() == len(LEVELS) * len(COST)
    assert windows == {(covered * NANOS, covered * TOKENS)}
    assert list(filled.held.values()) == [None]
    assert [refusal is None for refusal in beyond.held.values()] == [False]
    assert acme.account.held_nanos == covered * NANOS + last[0]
    assert_proven(database)


ROOM: LiteralString = (
    "select b.limit_nanos - w.settled_nanos - w.held_nanos from billing_budgetwindow w"
    " join billing_budget b on b.id = w.budget_id where b.id = %s"
)


def live(database: str, tenant: Tenant, priced: tuple[PriceVersion, Price], seed: int) -> None:
    """Hold, extend and settle for less than was held, in batches, at random."""
    version, price = priced
    dice = random.Random(seed)
    running: list[str] = []
    for _ in range(25):
        holds = [
            asking(tenant, version, dice.randrange(4_000, 9_000), dice.randrange(1, 9))
            for _ in range(dice.randrange(1, 6))
        ]
        dice.shuffle(running)
        ended, running = running[:3], running[3:]
        answer = run_tick(
            database,
            closings=[
                settlement(request_id, price, input_tokens=dice.randrange(3), output_tokens=1)
                for request_id in ended
            ],
            extensions=[Extension(each, dice.randrange(1, 5_000), 1) for each in running[:2]],
            holds=holds,
            owner=f"{seed}",
        )
        running += [request_id for request_id, refusal in answer.held.items() if refusal is None]


@pytest.mark.parametrize("tightest", ["organization", "key and model"])
def test_while_calls_grow_and_end_nobody_ever_sees_a_hard_budget_beyond_its_limit(
    database: str, tightest: str
) -> None:
    acme, priced = make_tenant(), make_price()
    binding = nest(acme, tightest, "limit_nanos", 400_000)

    with Onlooker(database, ROOM, binding.pk, every_s=0.005) as seen:
        at_once(lambda number: live(database, acme, priced, number))

    window = BudgetWindow.objects.get(budget=binding)
    room = 400_000 - window.settled_nanos - window.held_nanos
    filled = run_tick(database, holds=[asking(acme, priced[0], max(1, room), 0)])
    assert seen.looks > 20
    assert seen.least is not None
    assert 0 <= seen.least < 9_000, "calls were refused for want of it"
    assert [refusal is None for refusal in filled.held.values()] == [room > 0]
    assert_proven(database)

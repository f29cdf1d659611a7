"""Priorities first, lots by weight within one, always the same for the same call."""

from collections import Counter

from gateway.catalog import Deployment
from gateway.routing.candidates import order_candidates


def deployment(name: str, *, priority: int = 0, weight: int = 1) -> Deployment:
    place = (1, name, "openai", "", None, 1, 1, 1, 1, "m")
    return Deployment(*place, priority=priority, weight=weight)


def test_a_lower_priority_is_always_asked_first() -> None:
    both = [deployment("second", priority=1, weight=1000), deployment("first")]

    orders = {
        tuple(each.provider for each in order_candidates(both, f"req_{n}")) for n in range(200)
    }

    assert orders == {("first", "second")}


def test_within_one_priority_the_first_is_drawn_in_proportion_to_weight() -> None:
    both = [deployment("three", weight=3), deployment("one")]

    first = Counter(order_candidates(both, f"req_{n}")[0].provider for n in range(4000))

    assert 2850 < first["three"] < 3150  # the ids are fixed, so this is not chance
    assert first["three"] + first["one"] == 4000


def test_the_same_call_gets_the_same_order_however_the_rows_come() -> None:
    three = [deployment(name) for name in "abc"]

    assert order_candidates(three, "req_1") == order_candidates(three[::-1], "req_1")

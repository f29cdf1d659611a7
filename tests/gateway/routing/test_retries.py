"""What may be asked again is a tenth of what is asked, and a few more."""

import pytest

from gateway.routing import retries
from gateway.routing.retries import FREE, WINDOW_S, RetryBudget


class Times:
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    moved = Times()
    monkeypatch.setattr(retries, "clock", moved)
    return moved


def test_one_in_ten_calls_may_be_asked_again(times: Times) -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.count_call()

    granted = sum(budget.spend() for _ in range(1000))

    assert granted == 100 + FREE
    assert (budget.spent, budget.denied) == (granted, 1000 - granted)


def test_what_was_spent_is_forgotten_after_the_window(times: Times) -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(50)) == FREE
    times.now_s += WINDOW_S
    assert not budget.spend()

    times.now_s += WINDOW_S

    assert budget.spend()

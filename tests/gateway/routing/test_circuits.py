"""A provider that fails is left alone, tried with one call, and taken back."""

import pytest

from gateway.routing import circuits
from gateway.routing.circuits import Circuit


class Times:
    """A monotonic clock that a test moves."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    moved = Times()
    monkeypatch.setattr(circuits, "clock", moved)
    return moved


@pytest.fixture
def told() -> list[float]:
    return []


@pytest.fixture
def circuit(times: Times, told: list[float]) -> Circuit:
    return Circuit("acme", "m", failures=3, tell=lambda _, seconds: told.append(seconds))


def call(circuit: Circuit, *, well: bool | None) -> None:
    turn = circuit.enter()
    assert turn is not None
    if well:
        turn.answered()
    turn.end(well=well)


def test_failures_in_a_row_open_it_and_are_told(circuit: Circuit, told: list[float]) -> None:
    for _ in range(2):
        call(circuit, well=False)
    assert circuit.state == "closed"
    assert told == []

    call(circuit, well=False)

    assert circuit.state == "open"
    assert circuit.enter() is None
    assert told == [5]


def test_an_answer_that_ends_well_begins_the_row_anew(circuit: Circuit) -> None:
    for well in (False, False, True, False, False):
        call(circuit, well=well)

    assert circuit.state == "closed"


def test_half_of_many_calls_failing_opens_it_without_a_row(circuit: Circuit) -> None:
    for _ in range(5):
        call(circuit, well=True)
        call(circuit, well=False)
    assert circuit.state == "closed"

    call(circuit, well=True)
    call(circuit, well=False)

    assert circuit.state == "open"


def test_after_its_time_one_call_is_let_through_and_its_answer_closes_it(
    circuit: Circuit, times: Times
) -> None:
    for _ in range(3):
        call(circuit, well=False)
    times.now_s += 5

    probe = circuit.enter()

    assert probe is not None
    assert circuit.state == "half_open"
    assert circuit.enter() is None
    probe.answered()
    assert circuit.state == "closed"
    assert circuit.enter() is not None


def test_a_probe_that_fails_opens_it_for_twice_as_long_and_a_minute_at_most(
    circuit: Circuit, times: Times, told: list[float]
) -> None:
    for _ in range(3):
        call(circuit, well=False)
    for _ in range(5):
        times.now_s += 60
        call(circuit, well=False)

    assert told == [5, 10, 20, 40, 60, 60]


def test_an_answer_that_breaks_off_after_a_probe_opens_it_again(
    circuit: Circuit, times: Times
) -> None:
    for _ in range(3):
        call(circuit, well=False)
    times.now_s += 5
    turn = circuit.enter()
    assert turn is not None
    turn.answered()

    turn.end(well=False)

    assert circuit.state == "open"


def test_a_probe_whose_caller_leaves_lets_the_next_one_through(
    circuit: Circuit, times: Times
) -> None:
    for _ in range(3):
        call(circuit, well=False)
    times.now_s += 5
    call(circuit, well=None)

    assert circuit.state == "half_open"
    assert circuit.enter() is not None


def test_calls_from_before_it_opened_change_nothing_when_they_fail_late(
    circuit: Circuit, told: list[float]
) -> None:
    late = circuit.enter()
    assert late is not None
    for _ in range(3):
        call(circuit, well=False)

    late.end(well=False)
    late.end(well=False)

    assert told == [5]


def test_who_says_when_to_come_back_is_left_alone_until_then_and_a_minute_at_most(
    circuit: Circuit, times: Times, told: list[float]
) -> None:
    circuit.rest(7)
    assert (circuit.state, circuit.enter()) == ("resting", None)
    times.now_s += 7
    assert circuit.state == "closed"
    circuit.rest(86_400)

    assert told == [7, 60]


def test_what_a_neighbour_tells_is_not_told_on(circuit: Circuit, told: list[float]) -> None:
    circuit.rest(9, told=True)

    assert circuit.enter() is None
    assert told == []

"""What the writer takes next, of what waits."""

import asyncio
from collections.abc import Iterator

import pytest

from billing.batch import HoldAnswer
from billing.holds import Act, Closing, Extension, HoldRequest, Refusal
from billing.queues import BATCH, FEW, LINGER_S, Queues
from billing.tick import TickAnswer
from kernel import clock


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def closings(count: int, start: int = 0) -> list[Closing]:
    return [Closing(f"req_{number}", Act.RELEASE) for number in range(start, start + count)]


def holds(loop: asyncio.AbstractEventLoop, count: int) -> list[tuple[HoldRequest, HoldAnswer]]:
    return [
        (HoldRequest(f"new_{number}", 1, 1, 1, "m", 1, 5, 60), loop.create_future())
        for number in range(count)
    ]


def test_a_batch_has_a_few_holds_and_all_settlements_that_are_due(
    queues: Queues, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.queues.LINGER_S", 0)
    queues.add_closings(closings(2 * FEW))
    for hold in holds(loop, 2 * FEW):
        queues.add_hold(*hold)

    batch = queues.take()

    assert [each.request_id for each in batch.closings] == [f"req_{n}" for n in range(2 * FEW)]
    assert [each.request_id for each, _ in batch.holds] == [f"new_{n}" for n in range(FEW)]
    assert (queues.backlog, queues.awaited) == (0, FEW)


def test_of_a_long_queue_half_goes_and_never_more_than_a_batch(
    queues: Queues, loop: asyncio.AbstractEventLoop
) -> None:
    queues.add_closings(closings(2 * BATCH))
    for hold in holds(loop, 8 * FEW):
        queues.add_hold(*hold)

    batch = queues.take()

    assert (len(batch.closings), len(batch.holds)) == (BATCH, 4 * FEW)


def test_settlements_that_are_neither_due_nor_many_are_left_behind(
    queues: Queues, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.add_closings(closings(FEW - 1))
    [first, second] = holds(loop, 2)
    queues.add_hold(*first)
    early = queues.take()
    later = clock.monotonic() + LINGER_S
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    queues.add_hold(*second)
    late = queues.take()

    assert (len(early.closings), early.leaves_closings) == (0, True)
    assert (len(late.closings), late.leaves_closings) == (FEW - 1, False)


def test_what_is_refused_while_settlements_wait_is_asked_first_and_with_them(
    queues: Queues, loop: asyncio.AbstractEventLoop
) -> None:
    queues.add_closings(closings(5))
    for hold in holds(loop, 2 * FEW):
        queues.add_hold(*hold)
    batch = queues.take()
    assert batch.leaves_closings

    refused, granted = batch.holds[:5], batch.holds[5:]
    no_room = dict.fromkeys((each.request_id for each, _ in refused), Refusal("credit", {}))
    room = dict.fromkeys(each.request_id for each, _ in granted)
    assert queues.answer(batch, TickAnswer({}, {}, {**no_room, **room})) == []
    assert all(answer.result() is None for _, answer in granted)
    again = queues.take()

    assert [each for each, _ in again.holds[:5]] == [each for each, _ in batch.holds[:5]]
    assert (len(again.closings), again.leaves_closings) == (5, False)


def test_an_extension_that_is_refused_is_asked_again_before_the_others(
    queues: Queues, loop: asyncio.AbstractEventLoop
) -> None:
    first, second = ((Extension(name, 1), loop.create_future()) for name in ("a", "b"))
    queues.add_closings(closings(2))
    queues.add_extension(*first)
    batch = queues.take()
    queues.add_extension(*second)

    queues.answer(batch, TickAnswer({}, {"a": False}, {}))
    again = queues.take()

    assert batch.leaves_closings
    assert again.extensions == [first, second]
    assert (len(again.closings), again.leaves_closings) == (2, False)


def test_what_is_refused_with_all_settlements_gone_is_refused_for_good(
    queues: Queues, loop: asyncio.AbstractEventLoop
) -> None:
    late, early = holds(loop, 2)
    extension, room = Extension("a", 1), loop.create_future()
    for hold in (late, early):
        queues.add_hold(*hold)
    queues.add_extension(extension, room)
    batch = queues.take()
    refusal, gone = Refusal("budget", {}), late[0].request_id
    late[1].set_result(Refusal("unavailable", {}))

    said = queues.answer(batch, TickAnswer({}, {}, {early[0].request_id: refusal, gone: None}))

    assert said == [early[0].request_id]
    assert (early[1].result(), room.result()) == (refusal, False)
    assert queues.backlog == 1, "a hold that nobody waits for is released"
    assert queues.awaited == 0


def test_nobody_who_has_left_is_asked_for(queues: Queues, loop: asyncio.AbstractEventLoop) -> None:
    waiting = holds(loop, 3)
    for hold in waiting:
        queues.add_hold(*hold)
    waiting[1][1].cancel()

    assert [each for each, _ in queues.take().holds] == [waiting[0][0], waiting[2][0]]


def test_after_a_batch_that_took_too_long_fewer_go_alone_and_by_turns_with_holds(
    queues: Queues, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.queues.LINGER_S", 0)
    queues.add_closings(closings(FEW))
    slow = queues.take()
    queues.ask_for_less(slow)
    for hold in holds(loop, 2):
        queues.add_hold(*hold)

    turns = [queues.take() for _ in range(3)]

    sizes = [(len(turn.closings), len(turn.holds)) for turn in turns]
    assert sizes == [(FEW // 2, 0), (0, 2), (FEW // 2, 0)]
    assert turns[1].leaves_closings


def test_each_batch_that_goes_through_lets_twice_as_many_go_along(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.queues.LINGER_S", 0)
    queues.add_closings(closings(4))
    queues.ask_for_less(queues.take())
    sizes = []
    for start in (100, 200, 300, 400):
        batch = queues.take()
        sizes.append(len(batch.closings))
        queues.went_through(batch)
        queues.add_closings(closings(40, start))

    assert sizes == [2, 4, 8, 16]


def test_one_that_takes_too_long_alone_waits_apart_and_is_told_as_backlog(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.queues.LINGER_S", 0)
    queues.add_closings(closings(1))
    queues.ask_for_less(queues.take())

    assert (queues.backlog, queues.due) == (1, 0)
    assert 0 < queues.rest_s(60) <= 1

"""The writer: group commit of one process's holds and settlements.

1. Callers append to the queues (``queues.py``) and, for holds and extensions, await a future.
2. One task has one batch in flight; what arrives meanwhile is the next batch. A batch is one
   transaction: settlements first, then extensions, then new holds; one fsync for all of them.
3. A committed settlement is marked done in the journal.
4. A lost connection leaves the outcome unknown: settlements are sent again (closing twice is
   closing once), holds are refused and released on return, extensions count as refused.
5. A record that PostgreSQL refuses is found by halving the batch and put into quarantine; its
   neighbours go on.
6. A batch that takes too long is rolled back, and whoever waits for a hold in it is refused.

A batch that went through sends the next one in the same moment (``statement.py``); everything else
is the task's, which waits meanwhile. A timeout around psycopg returned after 6 s, not after 1, when
PostgreSQL was frozen; so callers time out on their futures instead, and a hold that is granted to a
caller who has left is released in the next batch.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from billing import tick
from billing.batch import (
    Batch,
    HoldAnswer,
    halves,
    reach_failpoints,
    refuse_all,
    refuse_holds,
)
from billing.holds import Act, Closing, Extension, HoldRequest, Refusal
from billing.journal import Journal
from billing.queues import Queues
from billing.tick_connection import HEARTBEAT_S, TickConnection
from kernel import failpoints
from kernel.log import logger
from kernel.loops import running_loop

RECONNECT_S = 0.25
log = logger(__name__)


@dataclass(slots=True)
class _Course:
    """Batches that follow each other without the task, and what has to be done after the last.

    ``error`` is why it did not go through; ``lost`` are its settlements that found no hold.
    """

    over: asyncio.Future[None]
    batch: Batch
    may_go_on: bool
    error: Exception | None = None
    lost: Sequence[tuple[Closing, str]] = field(default_factory=list)


class Writer:
    """Runs from ``start`` to ``stop`` in one event loop."""

    def __init__(self, database_url: str, journal: Journal) -> None:
        self._journal = journal
        self._connection = TickConnection(database_url, journal.owner, self._hear)
        self._queues = Queues()
        self._sleeper: asyncio.Future[None] | None = None
        self._lingers = False
        self._idle = asyncio.Event()
        self._course: _Course | None = None
        self._task: asyncio.Task[None] | None = None
        self.is_connected = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self, timeout_s: float) -> None:
        """Write what is queued, at most for ``timeout_s``, then end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._queues.due:
                    self._wake()
                    await asyncio.sleep(0.01)
                await self._idle.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._connection.close()

    def hold(self, request: HoldRequest) -> HoldAnswer:
        """Queue a hold. The future's result is None when granted, else why not.

        A caller that stops waiting ends the future itself; a hold granted afterwards is released.
        """
        answer: HoldAnswer = running_loop().create_future()
        self._queues.add_hold(request, answer)
        self._wake()
        return answer

    def extend(self, extension: Extension) -> asyncio.Future[bool]:
        """Queue an extension. The future's result tells whether there was room."""
        answer: asyncio.Future[bool] = running_loop().create_future()
        self._queues.add_extension(extension, answer)
        self._wake()
        return answer

    def close(self, closing: Closing) -> None:
        """Queue a closing. Never waits, never fails: the journal has it already."""
        self._queues.add_closings([closing])
        if not self._lingers or self._queues.are_many_closings:
            self._wake()

    @property
    def backlog(self) -> int:
        """How many closings wait to be committed."""
        return self._queues.backlog

    async def _run(self) -> None:
        while True:
            if not self._queues.due:
                self._idle.set()
                await self._sleep(self._queues.rest_s(HEARTBEAT_S))
                self._idle.clear()
            if not self._queues.awaited:
                await self._linger()
            self.is_connected = await self._connection.open()
            if not self.is_connected:
                self._queues.refuse_holds()
                await asyncio.sleep(RECONNECT_S)
                continue
            await self._connection.beat()
            batch = self._queues.take()
            self._record(batch)
            if len(batch):
                await self._commit(batch)

    def _record(self, batch: Batch) -> None:
        """Journal holds before they are asked for; no new spend without a journal."""
        if not batch.holds:
            return
        if not self._journal.open_calls(request.request_id for request, _ in batch.holds):
            refuse_holds(batch, Refusal("unrecorded", {}))
            batch.holds.clear()
        failpoints.reach("after_open")

    async def _linger(self) -> None:
        """Let settlements wait for company until they are due, or until a hold comes."""
        left_s = self._queues.closings_due_in_s()
        if left_s > 0:
            self._lingers = True
            await self._sleep(left_s)
            self._lingers = False

    async def _sleep(self, seconds: float) -> None:
        """Wait until somebody wakes the writer, at most for so long."""
        loop = running_loop()
        self._sleeper = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def _commit(self, batch: Batch, *, may_go_on: bool = True) -> None:
        """Write a batch, and as many others behind it as can go at once."""
        course = self._course = _Course(running_loop().create_future(), batch, may_go_on)
        self._send(course)
        await course.over
        if course.error is not None:
            await self._recover(course.batch, course.error)
        elif course.lost:
            await self._give_up_lost(course)

    def _send(self, course: _Course) -> None:
        batch = course.batch
        if batch.holds:
            failpoints.reach("before_hold_commit")
        try:
            self._connection.send(batch)
        except Exception as error:  # noqa: BLE001 # a record nobody foresaw must not end the writer
            self._end(course, error)

    def _hear(self, outcome: bytes | psycopg.Error) -> None:
        """Take a batch's outcome, and send the next one where nothing else is to be done."""
        course = self._course
        assert course is not None, "somebody has asked"
        try:
            if isinstance(outcome, psycopg.Error):
                self._end(course, outcome)
            else:
                self._go_on(course, tick.parse_answer(outcome))
        except Exception as error:  # raised again where the task waits
            if course.over.done():
                raise
            course.over.set_exception(error)

    def _go_on(self, course: _Course, answer: tick.TickAnswer) -> None:
        batch = course.batch
        self._queues.went_through(batch)
        reach_failpoints(batch)
        over = self._queues.answer(batch, answer)
        course.lost = tick.lost_settlements(batch.closings, answer.closed)
        lost = {closing.request_id for closing, _ in course.lost}
        over += [each.request_id for each in batch.closings if each.request_id not in lost]
        self._journal.mark_done(over)
        may_go_on = course.may_go_on and not (lost or course.over.done())
        following = self._take_following() if may_go_on else None
        if following is None:
            self._end(course)
        else:
            course.batch = following
            self._send(course)

    def _take_following(self) -> Batch | None:
        """Return what goes next, None where nothing does, or something else comes before."""
        queues = self._queues
        if self._connection.is_beat_due or not queues.due:
            return None
        if not queues.awaited and queues.closings_due_in_s() > 0:
            return None
        batch = queues.take()
        self._record(batch)
        return batch if len(batch) else None

    def _end(self, course: _Course, error: Exception | None = None) -> None:
        course.error = error
        if not course.over.done():
            course.over.set_result(None)

    async def _recover(self, batch: Batch, error: Exception) -> None:
        match tick.fault_of(error, is_connected=self._connection.is_open):
            case tick.Fault.LOST:
                await self._give_back(batch, error)
            case tick.Fault.SLOW:
                log.error("batch_took_too_long", error=type(error).__name__, requests=len(batch))
                self._refuse(batch)
                self._queues.ask_for_less(batch)
            case tick.Fault.REFUSED:
                await self._bisect(batch, error)

    async def _give_up_lost(self, course: _Course) -> None:
        owed, over = [], []
        for closing, reason in course.lost:
            if await self._connection.quarantine(closing, reason):
                over.append(closing.request_id)
            else:
                owed.append(closing)
        self._queues.put_back(owed)
        self._journal.mark_done(over)

    async def _give_back(self, batch: Batch, error: Exception) -> None:
        log.error("batch_outcome_unknown", error=type(error).__name__, requests=len(batch))
        await self._connection.close()
        self.is_connected = False
        self._queues.take_back(batch.closings)
        for request, _ in batch.holds:
            self.close(Closing(request.request_id, Act.RELEASE))
        refuse_all(batch)

    async def _bisect(self, batch: Batch, error: Exception) -> None:
        if len(batch) > 1:
            for half in halves(batch):
                await self._commit(half, may_go_on=False)
            return
        log.error("record_refused", error=type(error).__name__)
        for closing in batch.closings:
            if await self._connection.quarantine(closing, str(error)):
                self._journal.mark_done([closing.request_id])
            else:
                self._queues.put_back([closing])
        self._refuse(batch)

    def _refuse(self, batch: Batch) -> None:
        """Answer whoever waits for a batch of which nothing is in the books."""
        refuse_all(batch)
        self._journal.mark_done(request.request_id for request, _ in batch.holds)

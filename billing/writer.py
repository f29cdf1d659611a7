"""The writer: group commit of one process's holds and settlements.

1. Callers append to the queues and, for holds and extensions, await a future.
2. One task has one batch in flight; what arrives meanwhile is the next batch. A batch is one
   transaction: settlements first, then extensions, then new holds; one fsync for all of them.
   Callers wait for holds and nobody for a settlement, so settlements go along only once they have
   waited for a moment, or are many. What is refused without them is asked again with them, since
   they may free what it needs.
3. A committed settlement is marked done in the journal.
4. A lost connection leaves the outcome unknown: settlements are sent again (closing twice is
   closing once), holds are refused and released on return, extensions count as refused.
5. A record that PostgreSQL refuses is found by halving the batch and put into quarantine; its
   neighbours go on.
6. A batch that takes too long is rolled back, and whoever waits for a hold in it is refused. Half
   as many settlements go next, by themselves and by turns with holds, then twice as many each time
   they go through. One that takes too long alone is tried again apart from all (``slow.py``).

Only this task touches the connection. A timeout around psycopg returned after 6 s, not after 1,
when PostgreSQL was frozen; so callers time out on their futures instead, and a hold that is granted
to a caller who has left is released in the next batch.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from billing import tick
from billing.batch import Batch, HoldAnswer, halves, reach_failpoints, refuse_all
from billing.database import connect
from billing.holds import Act, Closing, Extension, HoldRequest, Refusal
from billing.journal import Journal
from billing.slow import SlowClosings
from kernel import clock, failpoints
from kernel.log import logger
from kernel.loops import running_loop

BATCH = 256
HEARTBEAT_S = 5.0
LINGER_S = 0.025
RECONNECT_S = 0.25
STATEMENT_TIMEOUT_MS = 2_000
log = logger(__name__)


class Writer:
    """Runs from ``start`` to ``stop`` in one event loop."""

    def __init__(self, database_url: str, journal: Journal) -> None:
        self._url = database_url
        self._journal = journal
        self._closings: deque[Closing] = deque()
        self._extensions: deque[tuple[Extension, asyncio.Future[bool]]] = deque()
        self._holds: deque[tuple[HoldRequest, HoldAnswer]] = deque()
        self._slow = SlowClosings()
        self._most_closings = BATCH
        self._goes_alone = False
        self._closing_since = 0.0
        self._settles_next = False
        self._sleeper: asyncio.Future[None] | None = None
        self._lingers = False
        self._idle = asyncio.Event()
        self._connection: AsyncConnection[TupleRow] | None = None
        self._cursor: AsyncCursor[TupleRow] | None = None
        self._task: asyncio.Task[None] | None = None
        self._beat_at = 0.0
        self.is_connected = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self, timeout_s: float) -> None:
        """Write what is queued, at most for ``timeout_s``, then end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._queued():
                    self._wake()
                    await asyncio.sleep(0.01)
                await self._idle.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            await self._connection.close()

    def hold(self, request: HoldRequest) -> HoldAnswer:
        """Queue a hold. The future's result is None when granted, else why not.

        A caller that stops waiting ends the future itself; a hold granted afterwards is released.
        """
        answer: HoldAnswer = running_loop().create_future()
        self._holds.append((request, answer))
        self._wake()
        return answer

    def extend(self, extension: Extension) -> asyncio.Future[bool]:
        """Queue an extension. The future's result tells whether there was room."""
        answer: asyncio.Future[bool] = running_loop().create_future()
        self._extensions.append((extension, answer))
        self._wake()
        return answer

    def close(self, closing: Closing) -> None:
        """Queue a closing. Never waits, never fails: the journal has it already."""
        if not self._closings:
            self._closing_since = clock.monotonic()
        self._closings.append(closing)
        if not self._lingers or len(self._closings) >= BATCH:
            self._wake()

    @property
    def backlog(self) -> int:
        """How many closings wait to be committed."""
        return len(self._closings) + len(self._slow)

    def _queued(self) -> int:
        return len(self._closings) + self._slow.are_due + self._awaited()

    def _awaited(self) -> int:
        """How many holds and extensions somebody waits for."""
        return len(self._extensions) + len(self._holds)

    async def _run(self) -> None:
        while True:
            if not self._queued():
                self._idle.set()
                await self._sleep(self._rest_s())
                self._idle.clear()
            if not self._awaited():
                await self._linger()
            connection = await self._connected()
            if connection is None:
                await asyncio.sleep(RECONNECT_S)
                continue
            await self._beat(connection)
            batch = self._take()
            if len(batch):
                await self._commit(connection, batch)

    def _rest_s(self) -> float:
        """How long to sleep where nothing is queued."""
        if not len(self._slow):
            return HEARTBEAT_S
        return min(HEARTBEAT_S, max(0.0, self._slow.due_at_s - clock.monotonic()))

    async def _linger(self) -> None:
        """Let settlements wait for company until they are due, or until a hold comes."""
        left_s = self._closings_due_in()
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

    def _closings_due_in(self) -> float:
        """In how many seconds settlements have waited long enough; 0 for now."""
        if len(self._closings) >= BATCH or self._settles_next:
            return 0.0
        return max(0.0, self._closing_since + LINGER_S - clock.monotonic())

    async def _connected(self) -> AsyncConnection[TupleRow] | None:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self.is_connected = False
        try:
            self._connection = await connect(
                self._url, "tollgate-writer", statement_timeout_ms=STATEMENT_TIMEOUT_MS
            )
        except psycopg.Error as error:
            log.warning("writer_not_connected", error=type(error).__name__)
            self._refuse_waiting_holds()
            return None
        self._cursor = self._connection.cursor()
        self.is_connected = True
        return self._connection

    async def _beat(self, connection: AsyncConnection[TupleRow]) -> None:
        loop_time = running_loop().time()
        if loop_time - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = loop_time
        try:
            await connection.execute(tick.HEARTBEAT, (self._journal.owner,))
        except psycopg.Error:
            await _drop(connection)

    def _take(self) -> Batch:
        if self._slow.are_due:
            return Batch(closings=[self._slow.take()])
        is_wary = self._most_closings < BATCH and bool(self._closings)
        self._goes_alone = is_wary and not (self._goes_alone and self._awaited())
        if self._goes_alone:
            return Batch(closings=self._take_closings())
        batch = Batch()
        batch.leaves_closings = is_wary or (bool(self._closings) and self._closings_due_in() > 0)
        self._settles_next = False
        if not batch.leaves_closings:
            batch.closings = self._take_closings()
        seen = {closing.request_id for closing in batch.closings}
        while self._extensions and len(batch.extensions) < BATCH:
            batch.extensions.append(self._extensions.popleft())
        while self._holds and len(batch.holds) < BATCH:
            request, answer = self._holds.popleft()
            if answer.done():
                continue
            batch.holds.append((request, answer))
            if request.instead_of is not None and request.instead_of not in seen:
                seen.add(request.instead_of)
                batch.closings.append(Closing(request.instead_of, Act.RELEASE))
        return batch

    def _take_closings(self) -> list[Closing]:
        taken: dict[str, Closing] = {}
        while self._closings and len(taken) < self._most_closings:
            closing = self._closings.popleft()
            taken.setdefault(closing.request_id, closing)
        return list(taken.values())

    async def _commit(self, connection: AsyncConnection[TupleRow], batch: Batch) -> None:
        if batch.holds:
            failpoints.reach("before_hold_commit")
        assert self._cursor is not None, "made with the connection"
        try:
            await self._cursor.execute(
                tick.STATEMENT,
                tick.arguments(
                    batch.closings,
                    [extension for extension, _ in batch.extensions],
                    [request for request, _ in batch.holds],
                    self._journal.owner,
                ),
                prepare=True,
            )
            row = await self._cursor.fetchone()
        except Exception as error:  # noqa: BLE001 # a record nobody foresaw must not end the writer
            match tick.fault_of(error, is_connected=not connection.closed):
                case tick.Fault.LOST:
                    await self._give_back(connection, batch, error)
                case tick.Fault.SLOW:
                    self._ask_for_less(batch, error)
                case tick.Fault.REFUSED:
                    await self._bisect(connection, batch, error)
        else:
            assert row is not None
            self._most_closings = min(BATCH, self._most_closings + len(batch.closings))
            reach_failpoints(batch)
            await self._answer(connection, batch, tick.parse_answer(row[0]))

    async def _answer(
        self, connection: AsyncConnection[TupleRow], batch: Batch, answer: tick.TickAnswer
    ) -> None:
        for request, waiting in batch.holds:
            refusal = answer.held.get(request.request_id, Refusal("lost", {}))
            if refusal is not None and batch.leaves_closings:
                self._holds.append((request, waiting))
                self._settles_next = True
            elif not waiting.done():
                waiting.set_result(refusal)
            elif refusal is None:
                self.close(Closing(request.request_id, Act.RELEASE))
        for extension, room in batch.extensions:
            is_granted = answer.extended.get(extension.request_id, False)
            if not is_granted and batch.leaves_closings:
                self._extensions.append((extension, room))
                self._settles_next = True
            elif not room.done():
                room.set_result(is_granted)
        kept_back = [
            closing
            for closing, reason in tick.lost_settlements(batch.closings, answer.closed)
            if not await self._quarantine(connection, closing, reason)
        ]
        self._put_back(kept_back)
        owed = {closing.request_id for closing in kept_back}
        self._journal.mark_done(
            closing.request_id for closing in batch.closings if closing.request_id not in owed
        )

    async def _give_back(
        self, connection: AsyncConnection[TupleRow], batch: Batch, error: Exception
    ) -> None:
        log.error("batch_outcome_unknown", error=type(error).__name__, requests=len(batch))
        await _drop(connection)
        self.is_connected = False
        self._closings.extendleft(reversed(batch.closings))
        for request, _ in batch.holds:
            self.close(Closing(request.request_id, Act.RELEASE))
        refuse_all(batch)

    def _ask_for_less(self, batch: Batch, error: Exception) -> None:
        """Refuse who waits, and queue what was rolled back: nothing of it is in the books."""
        log.error("batch_took_too_long", error=type(error).__name__, requests=len(batch))
        refuse_all(batch)
        if not batch.closings:
            return
        if len(batch) == 1:
            self._slow.add(batch.closings[0])
            return
        self._most_closings = max(1, len(batch.closings) // 2)
        self._closings.extendleft(reversed(batch.closings))

    async def _bisect(
        self, connection: AsyncConnection[TupleRow], batch: Batch, error: Exception
    ) -> None:
        if len(batch) > 1:
            for half in halves(batch):
                await self._commit(connection, half)
            return
        log.error("record_refused", error=type(error).__name__)
        for closing in batch.closings:
            if await self._quarantine(connection, closing, str(error)):
                self._journal.mark_done([closing.request_id])
            else:
                self._put_back([closing])
        refuse_all(batch)

    async def _quarantine(
        self, connection: AsyncConnection[TupleRow], closing: Closing, reason: str
    ) -> bool:
        log.error("settlement_quarantined", request=closing.request_id, reason=reason[:200])
        try:
            await connection.execute(tick.QUARANTINE, tick.quarantine_row(closing, reason))
        except psycopg.Error:
            return False
        return True

    def _put_back(self, closings: Sequence[Closing]) -> None:
        """Queue what could not be written, to be tried again after a moment."""
        if closings:
            self._closings.extend(closings)
            self._closing_since = clock.monotonic()

    def _refuse_waiting_holds(self) -> None:
        while self._holds:
            _, waiting = self._holds.popleft()
            if not waiting.done():
                waiting.set_result(Refusal("unavailable", {}))


async def _drop(connection: AsyncConnection[TupleRow]) -> None:
    with suppress(psycopg.Error):
        await connection.close()

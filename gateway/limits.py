"""Rate limits: requests and tokens per minute, requests per day, calls at once; on every level.

1. What arrives while a round trip is on its way goes with the next one: a batch is one call of the
   script. Callers wait to be let through and nobody for what goes back, so that waits a moment for
   company, and always goes before what asks.
2. It decides on Redis' clock, all limits of a call or none (``limits.lua``). What it charged is
   marked by the call's id: a script that ran although nobody heard its answer charges once, and
   gives back once.
3. A slot is a lease of seconds, renewed while its call runs: a killed process' slots end with it.
4. At its end a call corrects its tokens on every level and frees its slots.
5. Redis silent for ``wait_s`` counts as a failure; after five the breaker opens for a second at a
   time, and each process limits by itself, with its share of every limit (``local_limits.py``).
   Limits fail open to that share, and say so; money never does.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.levels import Ask, Check, Slots, Verdict
from gateway.local_limits import LocalLimits
from gateway.script import Script
from kernel import clock
from kernel.deadlines import Alarm, Deadline, Line, ring_in
from kernel.log import logger
from kernel.loops import running_loop

FAILURES_TO_OPEN = 5
OPEN_S = 1.0
LEASE_MS = 10_000
RENEW_S = 3.0
BATCH = 256
LINGER_S = 0.01
STOP_TURNS = 200
_SCRIPT = (Path(__file__).parent / "limits.lua").read_text(encoding="utf-8")
log = logger(__name__)
Row = dict[str, Any]


class _Flight(NamedTuple):
    """A batch on its way: what goes back, and behind it what is asked, for those who wait."""

    rows: list[Row]
    waiting: list[asyncio.Future[Row | None]]


class RateLimiter:
    """Asks Redis for many calls at a time; lives in one event loop."""

    def __init__(self, redis: Redis, *, processes: int, wait_s: float) -> None:
        self._script = Script(redis, _SCRIPT)
        self._wait_s = wait_s
        self._local = LocalLimits(processes)
        self._asks: deque[tuple[Row, asyncio.Future[Row | None]]] = deque()
        self._line: Line[Row | None] = Line(wait_s, None)
        self._returns: deque[Row] = deque()
        self._returns_timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._is_departing = False
        self._flight: _Flight | None = None
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._open_until = 0.0
        self._leases: dict[str, Ask] = {}
        self._renewal: asyncio.TimerHandle | None = None
        self.fallbacks = 0

    async def take(self, ask: Ask) -> Verdict:
        """Charge every limit, or none and say which one refused.

        A call that was let through ends with one ``give``.
        """
        verdict = None
        was_asked = clock.monotonic() >= self._open_until
        if was_asked:
            try:
                verdict = await self._ask(ask)
            except asyncio.CancelledError:
                self._hand_back(ask, ask.checks)
                raise
        if verdict is None:
            self.fallbacks += 1
            verdict = self._local.take(ask)
            if was_asked and verdict.refused is not None:
                self._hand_back(ask, ask.checks)  # the script may have run all the same
        if verdict.refused is None:
            self._local.enter(ask)
            self._keep_leases(ask)
        return verdict

    def give(self, ask: Ask, used_tokens: int) -> None:
        """End a call: correct its tokens on every level, free its slots. Nobody waits for it."""
        self._leases.pop(ask.request_id, None)
        self._local.leave(ask, used_tokens)
        self._hand_back(ask, ask.corrections(used_tokens))

    async def stop(self) -> None:
        """Send the last batch and wait for it."""
        if self._renewal is not None:
            self._renewal.cancel()
        self._send_returns()
        for _ in range(STOP_TURNS):
            await asyncio.sleep(0.01)
            if self._flight is None:
                break
        await self._script.close()

    async def _ask(self, ask: Ask) -> Verdict | None:
        row = {
            "op": "take",
            "id": ask.request_id,
            "checks": [check.as_row() for check in ask.checks],
            "slots": [[slots.key, slots.limit] for slots in ask.slots],
            "lease": LEASE_MS,
            "longest": ask.longest_ms,
        }
        waiting: asyncio.Future[Row | None] = running_loop().create_future()
        self._line.add(waiting)
        self._asks.append((row, waiting))
        self._depart()
        answer = await waiting
        return None if answer is None else _verdict(ask, answer)

    def _hand_back(self, ask: Ask, refunds: Sequence[Check]) -> None:
        self._return(
            {
                "op": "give",
                "id": ask.request_id,
                "refunds": [refund.as_row() for refund in refunds],
                "slots": [slots.key for slots in ask.slots],
            }
        )

    def _keep_leases(self, ask: Ask) -> None:
        if ask.slots:
            self._leases[ask.request_id] = ask
            if self._renewal is None:
                self._renewal = running_loop().call_later(RENEW_S, self._renew)

    def _renew(self) -> None:
        """Renew every open lease; one that Redis has lost is there again."""
        self._renewal = None
        leases = [
            [slots.key, ask.request_id] for ask in self._leases.values() for slots in ask.slots
        ]
        for start in range(0, len(leases), BATCH):
            self._return(
                {"op": "renew", "leases": leases[start : start + BATCH], "lease": LEASE_MS}
            )
        if leases:
            self._renewal = running_loop().call_later(RENEW_S, self._renew)

    def _return(self, row: Row) -> None:
        """Queue what nobody waits for."""
        self._returns.append(row)
        if self._returns_timer is None:
            loop = running_loop()
            self._returns_timer = loop.call_later(LINGER_S, self._send_returns)

    def _send_returns(self) -> None:
        if self._returns_timer is not None:
            self._returns_timer.cancel()
            self._returns_timer = None
        self._is_due = bool(self._returns)
        self._depart()

    def _depart(self) -> None:
        """Let what waits leave at the end of this turn, or when the batch on its way is back."""
        if self._flight is None and not self._is_departing:
            self._is_departing = True
            running_loop().call_soon(self._take_off)

    def _take_off(self) -> None:
        self._is_departing = False
        if self._flight is not None or not (self._asks or self._is_due):
            return
        returns = [self._returns.popleft() for _ in range(min(BATCH, len(self._returns)))]
        asks = self._take_asks(BATCH - len(returns))
        self._is_due = bool(self._returns)
        if not (returns or asks):
            return
        flight = self._flight = _Flight(
            [*returns, *(row for row, _ in asks)], [waiting for _, waiting in asks]
        )
        if self._script.is_ready and clock.monotonic() >= self._open_until:
            self._alarm = ring_in(self._wait_s, self._give_up)
            self._script.send(orjson.dumps(flight.rows), self._hear)
        else:
            self._fly_anew(flight)

    def _hear(self, outcome: bytes | RedisError) -> None:
        """Take a batch's answer, and let the next one leave."""
        if self._alarm is not None:
            self._alarm.cancel()
        flight = self._flight
        assert flight is not None, "somebody has asked"
        if isinstance(outcome, bytes):
            self._land(flight, self._read(outcome, len(flight.rows)))
        else:
            self._fly_anew(flight)

    def _give_up(self) -> None:
        flight = self._flight
        assert flight is not None, "somebody has asked"
        self._script.abandon()
        self._note_failure(TimeoutError())
        self._land(flight, [None] * len(flight.rows))

    def _fly_anew(self, flight: _Flight) -> None:
        """Go the long way: connect, load the script, try once more."""
        self._task = asyncio.create_task(self._fly(flight), name="rate-limits")

    async def _fly(self, flight: _Flight) -> None:
        self._land(flight, await self._call(flight.rows))

    def _land(self, flight: _Flight, answers: Sequence[Row | None]) -> None:
        self._flight = None
        returns = len(flight.rows) - len(flight.waiting)
        for waiting, answer in zip(flight.waiting, answers[returns:], strict=True):
            if not waiting.done():
                waiting.set_result(answer)
        self._take_off()

    def _take_asks(self, most: int) -> list[tuple[Row, asyncio.Future[Row | None]]]:
        """Return what is still waited for: who has left has handed back already."""
        asks: list[tuple[Row, asyncio.Future[Row | None]]] = []
        while self._asks and len(asks) < most:
            row, waiting = self._asks.popleft()
            if not waiting.done():
                asks.append((row, waiting))
        return asks

    async def _call(self, rows: Sequence[Row]) -> Sequence[Row | None]:
        if clock.monotonic() < self._open_until:
            return [None] * len(rows)
        try:
            with Deadline(self._wait_s):
                text = await self._script.run(orjson.dumps(rows))
        except Exception as error:  # noqa: BLE001 # whatever it is, callers wait for a verdict
            self._note_failure(error)
            return [None] * len(rows)
        return self._read(text, len(rows))

    def _read(self, text: bytes, count: int) -> Sequence[Row | None]:
        try:
            answers: list[Row | None] = orjson.loads(text)
            if len(answers) != count:
                raise ValueError("another batch's answer")  # noqa: TRY301 # as bad as no JSON
        except ValueError as error:
            self._note_failure(error)
            return [None] * count
        self._failures = 0
        return answers

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._open_until = clock.monotonic() + OPEN_S
        log.warning("rate_limits_local", error=type(error).__name__, failures=self._failures)


def _verdict(ask: Ask, answer: Row) -> Verdict:
    position = answer.get("refused")
    if position is None:
        return Verdict(None, 0, ask.checks, answer["state"])
    limits: list[Check | Slots] = [*ask.checks, *ask.slots]
    return Verdict(limits[int(position) - 1], answer["retry_ms"], ask.checks, answer["state"])

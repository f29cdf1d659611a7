"""Rate limits: requests and tokens per minute, requests per day, calls at once.

1. What arrives while a round trip is on its way goes with the next one: a batch is one script call.
2. The script decides on Redis' clock, all limits of a call or none (``limits.lua``).
3. Redis silent for 50 ms counts as a failure; after five the breaker opens for a second at a time,
   and each process limits by itself, with its share of every limit. Limits fail open to that share,
   and say so; money never does.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from accounts.principal import Principal
from kernel import clock
from kernel.errors import RateLimitError
from kernel.log import logger

MINUTE_MS = 60_000
DAY_MS = 86_400_000
WAIT_S = 0.05
FAILURES_TO_OPEN = 5
OPEN_S = 1.0
LOCAL_KEYS = 100_000
MAX_RETRY_S = 60
_SCRIPT = (Path(__file__).parent / "limits.lua").read_text(encoding="utf-8")
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One limit to be asked: ``limit`` per ``period_ms``; ``name`` says it to the caller."""

    name: str
    key: str
    limit: int
    cost: int
    period_ms: int

    def as_row(self) -> list[Any]:
        return [self.key, self.limit, self.cost, self.period_ms]


@dataclass(frozen=True, slots=True)
class Slots:
    """A limit of calls at once: a lease that ends by itself when its owner dies."""

    key: str
    limit: int
    member: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """``states`` holds (remaining, reset ms) for each check, in order."""

    refused: str | None
    retry_ms: int
    checks: Sequence[Check]
    states: Sequence[Sequence[int]]

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return ``x-ratelimit-*`` for the first request and the first token limit."""
        found: dict[str, list[tuple[bytes, bytes]]] = {}
        for check, (remaining, reset_ms) in zip(self.checks, self.states, strict=True):
            unit = "tokens" if check.name.startswith("tokens") else "requests"
            found.setdefault(
                unit,
                [
                    (f"x-ratelimit-limit-{unit}".encode(), b"%d" % check.limit),
                    (f"x-ratelimit-remaining-{unit}".encode(), b"%d" % max(0, remaining)),
                    (f"x-ratelimit-reset-{unit}".encode(), render_duration(reset_ms).encode()),
                ],
            )
        return [header for headers in found.values() for header in headers]

    def raise_if_refused(self) -> None:
        """Raise for a refused call.

        Raises:
            RateLimitError: with ``retry-after`` in whole seconds, 1 to 60.

        """
        if self.refused is None:
            return
        if any(check.cost > check.limit for check in self.checks):
            raise RateLimitError(
                f"This request is larger than a limit of its key: {self.refused}. Send a shorter "
                "prompt or a smaller max_tokens.",
                headers={"x-should-retry": "false"},
            )
        wait_s = min(MAX_RETRY_S, max(1, ceil(self.retry_ms / 1000)))
        raise RateLimitError(
            f"Rate limit reached for {self.refused}. Please try again in {wait_s}s.",
            headers={"retry-after": str(wait_s), "retry-after-ms": str(wait_s * 1000)},
        )


@dataclass(frozen=True, slots=True)
class Defaults:
    """The platform's own limits where a key has none."""

    rpm: int
    tpm: int
    most_call_s: int


class RateLimiter:
    """Asks Redis for many calls at a time; lives in one event loop."""

    def __init__(self, redis: Redis, *, processes: int) -> None:
        self._redis = redis
        self._processes = processes
        self._sha = ""
        self._waiting: deque[tuple[dict[str, Any], asyncio.Future[Any]]] = deque()
        self._flight: asyncio.Task[None] | None = None
        self._failures = 0
        self._open_until = 0.0
        self._local: dict[str, float] = {}
        self.fallbacks = 0

    async def take(self, checks: Sequence[Check], slots: Slots | None) -> Verdict:
        """Charge every limit, or none and say which one refused."""
        if clock.monotonic() >= self._open_until:
            row = {
                "op": "take",
                "checks": [check.as_row() for check in checks],
                "slots": slots and [slots.key, slots.limit, slots.member, slots.ttl_ms],
            }
            answer = await self._ask(row)
            if answer is not None:
                return _verdict(checks, slots, answer)
        return self._take_locally(checks)

    def give(self, refunds: Sequence[Check], slots: Slots | None) -> None:
        """Hand back tokens that were reserved and not used, and the slot. Nobody waits for it."""
        if not refunds and slots is None:
            return
        row = {
            "op": "give",
            "refunds": [refund.as_row() for refund in refunds],
            "slots": slots and [slots.key, slots.member],
        }
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((row, answer))
        self._fly()

    async def stop(self) -> None:
        """Wait for the last batch."""
        while self._flight is not None and not self._flight.done():
            await asyncio.wait([self._flight], timeout=1)

    async def _ask(self, row: dict[str, Any]) -> dict[str, Any] | None:
        answer: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, answer))
        self._fly()
        return await answer

    def _fly(self) -> None:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._run(), name="rate-limits")

    async def _run(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(256, len(self._waiting)))]
            answers = await self._call([row for row, _ in batch])
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)

    async def _call(self, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any] | None]:
        if clock.monotonic() < self._open_until:
            return [None] * len(rows)
        try:
            async with asyncio.timeout(WAIT_S):
                text = await self._evaluate(orjson.dumps(rows))
        except (RedisError, OSError, TimeoutError) as error:
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._open_until = clock.monotonic() + OPEN_S
            log.warning("rate_limits_local", error=type(error).__name__, failures=self._failures)
            return [None] * len(rows)
        self._failures = 0
        answers: list[dict[str, Any] | None] = orjson.loads(text)
        return answers

    async def _evaluate(self, operations: bytes) -> bytes:
        if not self._sha:
            self._sha = await self._redis.script_load(_SCRIPT)
        try:
            answer: bytes = await self._redis.evalsha(self._sha, 0, operations)
        except NoScriptError:
            self._sha = await self._redis.script_load(_SCRIPT)
            answer = await self._redis.evalsha(self._sha, 0, operations)
        return answer

    def _take_locally(self, checks: Sequence[Check]) -> Verdict:
        self.fallbacks += 1
        now = clock.monotonic() * 1000
        if len(self._local) > LOCAL_KEYS:
            self._local.clear()
        states: list[tuple[int, int]] = []
        arrivals: dict[str, float] = {}
        for check in checks:
            share = max(1, check.limit // self._processes)
            interval = check.period_ms / share
            at = max(now, self._local.get(check.key, 0.0))
            wait = at + interval * min(check.cost, share) - check.period_ms - now
            if wait > 0:
                return Verdict(_say(check), ceil(wait), checks, [(0, ceil(wait))] * len(checks))
            arrivals[check.key] = at + interval * check.cost
            states.append((int((check.period_ms - (at - now)) / interval), ceil(at - now)))
        self._local.update(arrivals)
        return Verdict(None, 0, checks, states)


def checks_for(principal: Principal, tokens: int, defaults: Defaults) -> list[Check]:
    """Return a key's limits for a call that may use ``tokens``, which may be none."""
    name = principal.key_public_id
    checks = [
        Check("requests per minute", f"rl:{name}:rpm", principal.rpm or defaults.rpm, 1, MINUTE_MS)
    ]
    if principal.rpd is not None:
        checks.append(Check("requests per day", f"rl:{name}:rpd", principal.rpd, 1, DAY_MS))
    checks.append(
        Check(
            "tokens per minute", f"rl:{name}:tpm", principal.tpm or defaults.tpm, tokens, MINUTE_MS
        )
    )
    return checks


def slots_for(principal: Principal, request_id: str, ttl_s: int) -> Slots | None:
    """Return the lease a call takes where its key limits calls at once."""
    if principal.concurrency is None:
        return None
    key = f"rl:{principal.key_public_id}:slots"
    return Slots(key, principal.concurrency, request_id, ttl_s * 1000)


def render_duration(ms: int) -> str:
    """Write milliseconds as the contract does: ``12ms``, ``1s``, ``6m0s``."""
    if ms < 1000:  # noqa: PLR2004 # a second
        return f"{max(0, ms)}ms"
    minutes, seconds = divmod(ceil(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _verdict(checks: Sequence[Check], slots: Slots | None, answer: dict[str, Any]) -> Verdict:
    refused = answer.get("refused")
    if refused is None:
        return Verdict(None, 0, checks, answer["state"])
    named = f"concurrent requests: limit {slots.limit}" if refused == "slots" and slots else None
    return Verdict(
        named or _say(checks[int(refused) - 1]), answer["retry_ms"], checks, answer["state"]
    )


def _say(check: Check) -> str:
    return f"{check.name}: limit {check.limit}, requested {check.cost}"

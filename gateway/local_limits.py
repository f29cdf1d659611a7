"""Rate limits from a process's own memory, for the time Redis is away: limit/P of every limit.

Calls at once are counted all the time, so that those that run when Redis goes are known.
"""

from collections import Counter
from math import ceil

from gateway.levels import Ask, Check, Slots, Verdict
from kernel import clock

MOST_KEYS = 100_000
FULL_RETRY_MS = 1_000
ROUNDING_MS = 0.001


class LocalLimits:
    """One process's share.

    1. ``take`` charges the share of every limit, or nothing.
    2. ``enter`` counts a call that was let through, wherever that was decided.
    3. ``leave`` ends it, and corrects the tokens of one that was charged here.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._arrivals: dict[str, float] = {}
        self._charged: set[str] = set()
        self._running: Counter[str] = Counter()

    def take(self, ask: Ask) -> Verdict:
        """Charge the share of every limit, or none and say which one refused."""
        now = clock.monotonic() * 1000
        if len(self._arrivals) > MOST_KEYS:
            self._arrivals.clear()
        before: list[tuple[int, int]] = []
        after: list[tuple[int, int]] = []
        arrivals: dict[str, float] = {}
        refused: tuple[Check | Slots, float] | None = None
        for check in ask.checks:
            interval = check.period_ms / self._share(check)
            at = max(now, self._arrivals.get(check.key, 0.0))
            wait = at + interval * min(check.cost, self._share(check)) - check.period_ms - now
            if refused is None and check.cost and (wait > ROUNDING_MS or check.is_too_large):
                refused = check, wait
            arrivals[check.key] = at + interval * check.cost
            before.append(_state(check, interval, at - now))
            after.append(_state(check, interval, arrivals[check.key] - now))
        full = next((s for s in ask.slots if self._running[s.key] >= self._share(s)), None)
        if refused is None and full is not None:
            refused = full, FULL_RETRY_MS
        if refused is not None:
            return Verdict(refused[0], ceil(refused[1]), ask.checks, before)
        self._arrivals.update(arrivals)
        self._charged.add(ask.request_id)
        return Verdict(None, 0, ask.checks, after)

    def enter(self, ask: Ask) -> None:
        for slots in ask.slots:
            self._running[slots.key] += 1

    def leave(self, ask: Ask, used_tokens: int) -> None:
        for slots in ask.slots:
            self._running[slots.key] -= 1
            if self._running[slots.key] <= 0:
                del self._running[slots.key]
        if ask.request_id not in self._charged:
            return
        self._charged.discard(ask.request_id)
        for check in ask.corrections(used_tokens):
            interval = check.period_ms / self._share(check)
            at = self._arrivals.get(check.key, 0.0)
            self._arrivals[check.key] = at - interval * check.cost

    def _share(self, limit: Check | Slots) -> int:
        return max(1, limit.limit // self._processes)


def _state(check: Check, interval: float, debt_ms: float) -> tuple[int, int]:
    return int((check.period_ms - debt_ms) / interval), ceil(debt_ms)

"""Which rate limits a call meets, on which level, and what was said to them. Pure.

Four levels: the key, its project, its organization, and the organization on the model it calls.
Where a key has no limit a minute of its own, the platform's default takes its place; every other
level is unlimited until it is given a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

from accounts.principal import NO_LIMITS, Principal, RateLimits
from gateway.dialects.rate_headers import RateStanding, RateStandings
from kernel.errors import RateLimitError

MINUTE_MS = 60_000
DAY_MS = 86_400_000
MAX_RETRY_S = 60
ON_THE_MODEL = "this organization on this model"
REQUESTS_A_MINUTE = "requests per minute"
REQUESTS_A_DAY = "requests per day"
TOKENS_A_MINUTE = "tokens per minute"


class Check(NamedTuple):
    """One limit to be asked: ``limit`` per ``period_ms``; ``name`` and ``level`` say it."""

    name: str
    level: str
    key: str
    limit: int
    cost: int
    period_ms: int

    @property
    def unit(self) -> str:
        return "tokens" if self.name == TOKENS_A_MINUTE else "requests"

    @property
    def is_too_large(self) -> bool:
        """Tell whether no time will ever let this through."""
        return self.cost > self.limit

    def costing(self, cost: int) -> "Check":
        return Check(self.name, self.level, self.key, self.limit, cost, self.period_ms)

    def as_row(self) -> list[Any]:
        return [self.key, self.limit, self.cost, self.period_ms]

    def __str__(self) -> str:
        return f"{self.name} of {self.level}: {self.limit}"


class Slots(NamedTuple):
    """A limit of calls at once."""

    level: str
    key: str
    limit: int

    def __str__(self) -> str:
        return f"concurrent requests of {self.level}: {self.limit}"


class Ask(NamedTuple):
    """What one call asks of all its limits: all of it, or nothing.

    ``longest_ms`` bounds how long the call can run, and so what is remembered of it.
    """

    request_id: str
    checks: Sequence[Check]
    slots: Sequence[Slots] = ()
    longest_ms: int = MINUTE_MS

    def corrections(self, used_tokens: int) -> list[Check]:
        """Return what every level gets back at the end: tokens reserved and not used.

        The cost is negative where more was used than reserved.
        """
        return [
            check.costing(check.cost - used_tokens)
            for check in self.checks
            if check.unit == "tokens" and check.cost not in (0, used_tokens)
        ]


class Verdict(NamedTuple):
    """``states`` holds (remaining, reset ms) for each check, in order."""

    refused: Check | Slots | None
    retry_ms: int
    checks: Sequence[Check]
    states: Sequence[Sequence[int]]

    def standings(self) -> RateStandings:
        """Return, by unit, the limit that refused, else the one with the least share left."""
        binding: dict[str, tuple[tuple[float, int], RateStanding]] = {}
        for check, (left, reset_ms) in zip(self.checks, self.states, strict=True):
            unit, limit, remaining = check.unit, check.limit, max(0, left)
            rank = (-1.0 if check is self.refused else remaining / limit, limit)
            if unit not in binding or rank < binding[unit][0]:
                binding[unit] = rank, RateStanding(limit, remaining, reset_ms)
        return {unit: standing for unit, (_, standing) in binding.items()}

    def raise_if_refused(self) -> None:
        """Raise for a refused call.

        Raises:
            RateLimitError: with ``retry-after`` in whole seconds, 1 to 60.

        """
        if self.refused is None:
            return
        larger = next((check for check in self.checks if check.is_too_large), None)
        if larger is not None:
            raise RateLimitError(
                f"This request is larger than a limit: {larger}, requested {larger.cost}. Send a "
                "shorter prompt or a smaller max_tokens.",
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


class Wanted(NamedTuple):
    """What a call that reads well may use: tokens of a model that has limits of its own."""

    model: str
    model_limits: RateLimits
    tokens: int


def ask_for(
    request_id: str,
    principal: Principal,
    wanted: Wanted | None,
    defaults: Defaults,
    *,
    is_again: bool = False,
) -> Ask:
    """Return all limits of a call; one that will not run (nothing wanted) only costs a request.

    A call that asks again, for another model, is one more request to that model alone.
    """
    tokens = 0 if wanted is None else wanted.tokens
    own = principal.key_limits
    key = RateLimits(own.rpm or defaults.rpm, own.rpd, own.tpm or defaults.tpm, own.concurrency)
    checks: list[Check] = []
    slots: list[Slots] = []
    for level, name, limits in (
        ("this key", f"rl:k:{principal.key_public_id}", key),
        ("this project", f"rl:p:{principal.project_id}", principal.project_limits),
        ("this organization", f"rl:o:{principal.org_id}", principal.org_limits),
        *_of_the_model(principal, wanted),
    ):
        requests = 0 if is_again and level != ON_THE_MODEL else 1
        if limits.rpm is not None:
            checks.append(
                Check(REQUESTS_A_MINUTE, level, f"{name}:rpm", limits.rpm, requests, MINUTE_MS)
            )
        if limits.rpd is not None:
            checks.append(Check(REQUESTS_A_DAY, level, f"{name}:rpd", limits.rpd, requests, DAY_MS))
        if limits.tpm is not None:
            checks.append(
                Check(TOKENS_A_MINUTE, level, f"{name}:tpm", limits.tpm, tokens, MINUTE_MS)
            )
        if limits.concurrency is not None and wanted is not None:
            slots.append(Slots(level, f"{name}:slots", limits.concurrency))
    return Ask(request_id, checks, slots, defaults.most_call_s * 1000)


def _of_the_model(
    principal: Principal, wanted: Wanted | None
) -> Sequence[tuple[str, str, RateLimits]]:
    if wanted is None or wanted.model_limits == NO_LIMITS:
        return ()
    name = f"rl:m:{principal.org_id}:{wanted.model}"
    return ((ON_THE_MODEL, name, wanted.model_limits),)

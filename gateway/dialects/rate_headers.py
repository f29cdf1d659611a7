"""Rate limits as headers say them. Pure.

Every dialect says ``x-ratelimit-*``; Anthropic's also its own. Tokens are limited as one sum of
input and output, so its three kinds of tokens show the same limit.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from math import ceil
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]


class RateStanding(NamedTuple):
    """How a limit stands after a call; after ``reset_ms`` all of it is there again."""

    limit: int
    remaining: int
    reset_ms: int


# By unit, ``requests`` and ``tokens``: of all levels the limit with the least share left.
RateStandings = Mapping[str, RateStanding]


def x_ratelimit_headers(standings: RateStandings) -> Headers:
    """Return ``x-ratelimit-{limit,remaining,reset}-*``; resets are durations."""
    headers: Headers = []
    for unit, (limit, remaining, reset_ms) in standings.items():
        of_limit, of_remaining, of_reset = _names(unit)
        headers.append((of_limit, b"%d" % limit))
        headers.append((of_remaining, b"%d" % remaining))
        headers.append((of_reset, render_duration(reset_ms).encode()))
    return headers


@cache
def _names(unit: str) -> tuple[bytes, bytes, bytes]:
    of = "x-ratelimit-%s-" + unit
    return (of % "limit").encode(), (of % "remaining").encode(), (of % "reset").encode()


def anthropic_ratelimit_headers(standings: RateStandings, now: datetime) -> Headers:
    """Return ``anthropic-ratelimit-*-{limit,remaining,reset}``; resets are times of RFC 3339."""
    headers: Headers = []
    for unit, standing in standings.items():
        reset_at = now + timedelta(milliseconds=standing.reset_ms)
        whole = reset_at.replace(microsecond=0) + timedelta(seconds=reset_at.microsecond > 0)
        reset = whole.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        for kind in ("tokens", "input-tokens", "output-tokens") if unit == "tokens" else (unit,):
            name = b"anthropic-ratelimit-" + kind.encode()
            headers += [
                (name + b"-limit", b"%d" % standing.limit),
                (name + b"-remaining", b"%d" % standing.remaining),
                (name + b"-reset", reset),
            ]
    return headers


def render_duration(ms: int) -> str:
    """Write milliseconds as the contract does: ``12ms``, ``1s``, ``6m0s``."""
    if ms < 1000:  # noqa: PLR2004 # a second
        return f"{max(0, ms)}ms"
    minutes, seconds = divmod(ceil(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"

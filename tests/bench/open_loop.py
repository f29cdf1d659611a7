"""Plain calls at an even rate well below what one process can do: what its callers wait for.

Two figures, each the difference of percentiles to the same load on the upstream alone: of the whole
answer, and of admission, which is the time until the upstream has the request in hand. In that time
lie key, rate limits, the committed hold and routing.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import urlopen

from tests.bench.load import LoadResult, drive_open, post_request

RATE = 500
PERCENTS = (50, 99)


async def measure(
    upstream: str, api: str, key: str, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Drive the upstream (a ``tests.fakes.upstream``) and the api in turn, and report."""
    direct = await drive_named(upstream, "direct", key, seconds)
    through = await drive_named(api, "through", key, seconds)
    began_at = read_transcript(upstream)
    added = [through.percentile_ms(p) - direct.percentile_ms(p) for p in PERCENTS]
    reached = [
        admission_ms(result, name, began_at)
        for name, result in (("direct", direct), ("through", through))
    ]
    admitted = [percentile(reached[1], p) - percentile(reached[0], p) for p in PERCENTS]
    say(
        f"plain, {RATE} a second in an open loop: added p50 {added[0]:.2f} ms, p99 {added[1]:.2f}"
        f" ms; of that admission p50 {admitted[0]:.2f} ms, p99 {admitted[1]:.2f} ms"
        + (f"   {through.failures} FAILED" if through.failures else "")
    )
    return {
        "kind": "plain, open loop",
        "through_per_s": round(through.per_second),
        "added_p50_ms": round(added[0], 2),
        "added_p99_ms": round(added[1], 2),
        "admission_p50_ms": round(admitted[0], 2),
        "admission_p99_ms": round(admitted[1], 2),
        "failures": through.failures,
    }


async def drive_named(server: str, name: str, key: str, seconds: float) -> LoadResult:
    """Send requests that the upstream's transcript can tell apart."""
    url = server + "/v1/chat/completions"

    def make(number: int) -> bytes:
        body = (
            f'{{"model":"mock","user":"{name}-{number}",'
            '"messages":[{"role":"user","content":"Hello there"}]}'
        )
        return post_request(url, key, body.encode())

    return await drive_open(url, make, per_second=RATE, seconds=seconds)


def read_transcript(upstream: str) -> Mapping[str, float]:
    """Return when the upstream had each request, by the user it names."""
    with urlopen(upstream + "/transcript") as answer:  # our own, on loopback
        exchanges = json.loads(answer.read())
    return {exchange["user"]: exchange["began_at"] for exchange in exchanges if exchange["user"]}


def admission_ms(result: LoadResult, name: str, began_at: Mapping[str, float]) -> list[float]:
    """Return how long each request took to the upstream, sorted; failed ones did not arrive."""
    return sorted(
        (began_at[f"{name}-{number}"] - due) * 1000
        for number, due in enumerate(result.due_at)
        if f"{name}-{number}" in began_at
    )


def percentile(values: list[float], percent: float) -> float:
    return values[min(len(values) - 1, int(len(values) * percent / 100))]

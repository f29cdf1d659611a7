"""Plain calls at an even rate well below what one process can do: what its callers wait for.

Two figures, each the difference of percentiles to the same load on the upstream alone: of the whole
answer, and of admission, which is the time until the upstream has the request in hand. In that time
lie key, rate limits, the committed hold and routing. The floor's are the least that these parts
take on this machine, in this minute.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import urlopen

from tests.bench.load import LoadResult, drive_open, post_request

RATE = 500
PERCENTS = (50, 99)


async def measure(
    servers: Mapping[str, str], key: str, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Drive the upstream (a ``tests.fakes.upstream``), the floor and the api in turn, and report.

    ``servers`` has their addresses, as ``direct``, ``floor`` and ``through``.
    """
    results = {name: await drive_named(url, name, key, seconds) for name, url in servers.items()}
    began_at = read_transcript(servers["direct"])
    reached = {name: admission_ms(result, name, began_at) for name, result in results.items()}
    direct, through = results["direct"], results["through"]
    row: dict[str, Any] = {
        "kind": "plain, open loop",
        "through_per_s": round(through.per_second),
        "failures": through.failures,
    }
    for name in ("floor", "through"):
        for percent in PERCENTS:
            added = results[name].percentile_ms(percent) - direct.percentile_ms(percent)
            admitted = percentile(reached[name], percent) - percentile(reached["direct"], percent)
            prefix = "floor_" if name == "floor" else ""
            row[f"{prefix}added_p{percent}_ms"] = round(added, 2)
            row[f"{prefix}admission_p{percent}_ms"] = round(admitted, 2)
    say(
        f"plain, {RATE} a second in an open loop: added p50 {row['added_p50_ms']} ms, p99"
        f" {row['added_p99_ms']} (floor {row['floor_added_p50_ms']}, {row['floor_added_p99_ms']});"
        f" of that admission p50 {row['admission_p50_ms']}, p99 {row['admission_p99_ms']}"
        f" (floor {row['floor_admission_p50_ms']}, {row['floor_admission_p99_ms']})"
        + (f"   {through.failures} FAILED" if through.failures else "")
    )
    return row


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

"""``./tollgate bench``: what the gateway costs, beside the same upstream called directly.

The floor (``floor.py``) runs in turns with it: the same parts and round trips, and nothing else.

Starts real stores with fsync on, a mock upstream, and one api process with everything that a
customer's call goes through: key, rate limits, hold, metering, journal, settlement. The api process
has one core to itself, as a peer has; the load generator, the mock, PostgreSQL and Redis share the
other. Ends with the proof of the books over every call that was made.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from stack.services import Services, start_services
from tests.bench import books, floor, open_loop, streams
from tests.bench import peer as peers
from tests.bench.load import LoadResult, drive, post_request
from tests.bench.stand import pin, set_up, with_children
from tests.servers import Server, running_api, running_upstream

OTHERS = {"books": books.main, "streams": streams.main}
CALLERS = (1, 32, 256)
PEER_CALLERS = (32, 128, 256)
CHUNKS = 64


@dataclass(frozen=True)
class Kind:
    name: str
    body: bytes


PLAIN = Kind("plain", b'{"model":"mock","messages":[{"role":"user","content":"Hello there"}]}')
STREAM = Kind(
    "stream",
    b'{"model":"mock","stream":true,"messages":[{"role":"user","content":"Hello there"}]}',
)


@dataclass(frozen=True)
class Bench:
    upstream: Server
    floor: Server
    api: Server
    key: str
    services: Services
    folder: Path


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        OTHERS[sys.argv[1]](sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="tollgate bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument(
        "--peer",
        type=Path,
        action="append",
        default=[],
        help="folder with LiteLLM's proxy or Portkey's gateway, run beside us; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tollgate-bench-"))
    try:
        with ExitStack() as stack:
            bench = start(stack, folder)
            report = uvloop.run(measure(bench, options))
            report["proof"] = prove(bench)
        if options.json:
            sys.stdout.write(json.dumps(report, indent=2) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(stack: ExitStack, folder: Path) -> Bench:
    """Start stores, upstream and api, and make a rich tenant without narrow limits."""
    services = start_services(folder)
    stack.callback(services.stop)
    pin(1, *with_children(services.postgres.pid), services.redis.pid)
    set_up(services, folder)
    from accounts.keys import KeySpec
    from tests.factories import make_tenant, offer_upstream

    upstream = stack.enter_context(running_upstream(folder))
    offer_upstream(upstream.url)
    tenant = make_tenant(credit_usd="1000000", spec=KeySpec(rpm=10**9, tpm=10**12))
    api = stack.enter_context(running_api(services.database_url, services.redis_url, folder))
    beneath = stack.enter_context(floor.running_floor(upstream.url, folder))
    pin(0, api.pid, beneath.pid)
    pin(1, upstream.pid, os.getpid())
    return Bench(upstream, beneath, api, tenant.key_text, services, folder)


def report_line(line: str) -> None:
    print(line, flush=True)  # noqa: T201 # a report


def say_nothing(line: str) -> None:
    """JSON is printed whole at the end."""


async def measure(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    """Run every kind with every number of callers, direct and through the gateway."""
    say: Callable[[str], None] = say_nothing if options.json else report_line
    seconds = options.seconds
    cores, version = os.cpu_count(), platform.python_version()
    say(f"machine: {cores} cores, {platform.machine()}, Python {version}")
    say(
        f"{'':8}{'callers':>8}{'direct/s':>10}{'floor/s':>9}{'through/s':>11}"
        f"{'floor p50 ms':>14}{'p99 ms':>9}{'added p50 ms':>14}{'p99 ms':>9}"
    )
    rows: list[dict[str, Any]] = []
    for server in (bench.floor, bench.api):
        await run(bench, server, PLAIN, callers=8, seconds=2)  # warm up
    for kind in (PLAIN, STREAM):
        for callers in CALLERS:
            direct, beneath, through = [
                await run(bench, server, kind, callers=callers, seconds=seconds)
                for server in (bench.upstream, bench.floor, bench.api)
            ]
            least, added = [
                [result.percentile_ms(p) - direct.percentile_ms(p) for p in (50, 99)]
                for result in (beneath, through)
            ]
            say(
                f"{kind.name:8}{callers:>8}{direct.per_second:>10.0f}{beneath.per_second:>9.0f}"
                f"{through.per_second:>11.0f}{least[0]:>14.2f}{least[1]:>9.2f}"
                f"{added[0]:>14.2f}{added[1]:>9.2f}"
                + (f"   {through.failures} FAILED" if through.failures else "")
            )
            rows.append(
                {
                    "kind": kind.name,
                    "callers": callers,
                    "direct_per_s": round(direct.per_second),
                    "floor_per_s": round(beneath.per_second),
                    "through_per_s": round(through.per_second),
                    "floor_added_p50_ms": round(least[0], 2),
                    "floor_added_p99_ms": round(least[1], 2),
                    "added_p50_ms": round(added[0], 2),
                    "added_p99_ms": round(added[1], 2),
                    "failures": through.failures,
                }
            )
    servers = {
        "direct": bench.upstream.url,
        "floor": bench.floor.url,
        "through": bench.api.url,
    }
    rows.append(await open_loop.measure(servers, bench.key, seconds, say))
    streams = max(row["through_per_s"] for row in rows if row["kind"] == "stream")
    resident_mb = resident_mb_of(bench.api)
    say(f"relayed chunks/s: {streams * CHUNKS}")
    say(f"resident memory of the api process: {resident_mb} MB")
    report = {"rows": rows, "chunks_per_s": streams * CHUNKS, "resident_mb": resident_mb}
    report["peers"] = [
        row for home in options.peer for row in await measure_peer(bench, home, options, say)
    ]
    return report


async def measure_peer(
    bench: Bench, home: Path, options: argparse.Namespace, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run a peer and us in turns on one core."""
    rows = []
    with peers.running_peer(home, bench.upstream.url, bench.folder) as peer:
        pin(0, *with_children(peer.server.pid))
        for kind in (PLAIN, STREAM):
            request = peer.request(kind.body)
            await drive(peer.url, request, callers=8, seconds=2)  # warm up
            for callers in PEER_CALLERS:
                theirs = await drive(peer.url, request, callers=callers, seconds=options.seconds)
                ours = await run(bench, bench.api, kind, callers=callers, seconds=options.seconds)
                times = ours.per_second / theirs.per_second
                say(
                    f"{kind.name}, {callers} callers: {peer.name} {theirs.per_second:.0f}/s,"
                    f" Tollgate {ours.per_second:.0f}/s: {times:.1f} times"
                    + (f"   {theirs.failures} FAILED: {theirs.why}" if theirs.failures else "")
                )
                rows.append(
                    {
                        "peer": peer.name,
                        "kind": kind.name,
                        "callers": callers,
                        "peer_per_s": round(theirs.per_second),
                        "through_per_s": round(ours.per_second),
                        "peer_failures": theirs.failures,
                    }
                )
            say(at_the_most(peer.name, [row for row in rows if row["kind"] == kind.name]))
        say(f"resident memory of {peer.name}: {resident_mb_of(peer.server)} MB")
    return rows


def at_the_most(peer: str, rows: list[dict[str, Any]]) -> str:
    """Say what each can serve: the best of one against the best of the other, by any callers."""
    kind = rows[0]["kind"]
    theirs, ours = (max(row[name] for row in rows) for name in ("peer_per_s", "through_per_s"))
    if not theirs or any(row["peer_failures"] for row in rows):
        return f"{kind}: {peer} failed, so there is no ratio"
    return f"{kind}, at the most: {peer} {theirs}/s, Tollgate {ours}/s: {ours / theirs:.1f} times"


def resident_mb_of(server: Server) -> int:
    """Return what a server and its children keep in memory."""
    parent = psutil.Process(server.pid)
    return sum(each.memory_info().rss for each in (parent, *parent.children(True))) >> 20


async def run(
    bench: Bench, server: Server, kind: Kind, *, callers: int, seconds: float
) -> LoadResult:
    url = server.url + "/v1/chat/completions"
    request = post_request(url, bench.key, kind.body)
    return await drive(url, request, callers=callers, seconds=seconds)


def prove(bench: Bench) -> str:
    """Stop the api process, so that everything is settled, and prove the books."""
    bench.api.stop()
    from billing.database import connect_sync
    from billing.proof import prove as run_proof

    with connect_sync(
        bench.services.database_url, "bench", statement_timeout_ms=600_000
    ) as connection:
        proof = run_proof(connection, bench.folder / "journal")
        row = connection.execute("select count(*) from billing_usageid").fetchone()
    calls = 0 if row is None else row[0]
    broken = [finding.number for finding in proof.findings if finding.rows]
    verdict = "clean" if proof.clean else f"NOT clean: {broken}"
    print(f"proof over {calls} calls: {verdict}", file=sys.stderr)  # noqa: T201 # a report
    if not proof.clean:
        raise SystemExit(1)
    return verdict


if __name__ == "__main__":
    main()

"""``./tollgate bench streams``: what relaying costs, chunk by chunk, in all four dialect pairs.

1. Every chunk arrives alone, at an even pace, so that each is read, metered and sent by itself. The
   cost of a chunk is the api process's processor time over what it relayed.
2. As many streams at once as one process should carry, and what memory each takes.

Both for the floor too (``floor.py``). Ends with the proof of the books.
"""

import os
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from asyncio import create_task, sleep
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from stack.services import start_services
from tests.bench.floor import running_floor
from tests.bench.load import drive, post_request
from tests.bench.stand import pin, set_up
from tests.servers import Server, environment, free_port, running, running_api

CHUNKS = 400
SLOWLY = "40x1000"
OPENED_PER_S = 300
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}


@dataclass(frozen=True)
class Bench:
    api: Server
    floor: Server
    key: str
    database_url: str
    folder: Path


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="tollgate bench streams", description=__doc__)
    parser.add_argument("--callers", type=int, default=100, help="streams at once, paced")
    parser.add_argument("--open", type=int, default=5000, help="streams at once, for memory")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tollgate-streams-"))
    try:
        with ExitStack() as stack:
            bench = start(stack, folder)
            uvloop.run(measure(bench, options))
            bench.api.stop()
            prove(bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(stack: ExitStack, folder: Path) -> Bench:
    services = start_services(folder)
    stack.callback(services.stop)
    set_up(services, folder)
    from accounts.keys import KeySpec
    from billing.prices import text_price
    from gateway.offers import create_model, create_provider
    from kernel.money import parse_usd
    from tests.factories import ACTOR, make_tenant

    port = free_port()
    command = [sys.executable, "-m", "tests.bench.pacer", str(port)]
    pacer = stack.enter_context(running(command, port, environment(), folder, ready="/"))
    for kind, base in (("openai", "/v1"), ("anthropic", "")):
        create_provider(
            kind, kind=kind, base_url=pacer.url + base, credential="sk-upstream", actor=ACTOR
        )
        for pace in (f"{CHUNKS}x10", SLOWLY):
            create_model(
                f"{kind}-{pace}",
                provider=kind,
                upstream_model=pace,
                price=text_price(parse_usd("1.00"), parse_usd("2.00")),
                actor=ACTOR,
            )
    tenant = make_tenant(credit_usd="1000000", spec=KeySpec(rpm=10**9, tpm=10**12))
    api = stack.enter_context(running_api(services.database_url, services.redis_url, folder))
    beneath = stack.enter_context(running_floor(pacer.url, folder))
    pin(0, api.pid, beneath.pid)
    pin(1, pacer.pid, os.getpid())
    return Bench(api, beneath, tenant.key_text, services.database_url, folder)


async def measure(bench: Bench, options: Any) -> None:
    say(
        f"{'caller':10} {'upstream':10} {'relayed/s':>10} {'µs a chunk':>11} {'a core could/s':>15}"
    )
    pace = f"{CHUNKS}x10"
    await measure_chunks(bench.floor, bench.key, ("the floor", "openai"), pace, options.callers)
    for upstream in PATHS:
        for dialect in PATHS:
            model = f"{upstream}-{pace}"
            await measure_chunks(bench.api, bench.key, (dialect, upstream), model, options.callers)
    for server, name, model in (
        (bench.floor, "the floor", SLOWLY),
        (bench.api, "Tollgate", f"openai-{SLOWLY}"),
    ):
        await measure_memory(server, name, bench.key, model, options.open)


async def measure_chunks(
    server: Server, key: str, pair: tuple[str, str], model: str, callers: int
) -> None:
    path = PATHS.get(pair[0], PATHS["openai"])
    await stream(server, path, key, model, callers=8)  # warm up
    before_s, took_s = cpu_s(server), await stream(server, path, key, model, callers)
    chunks = CHUNKS * callers
    each_s = (cpu_s(server) - before_s) / chunks
    say(
        f"{pair[0]:10} {pair[1]:10} {chunks / took_s:>10.0f} {each_s * 1e6:>11.1f}"
        f" {1 / each_s:>15.0f}"
    )


async def measure_memory(server: Server, name: str, key: str, model: str, streams: int) -> None:
    path = PATHS["openai"]
    await stream(server, path, key, model, callers=100)
    before = resident(server)
    streaming = create_task(stream(server, path, key, model, streams, apart_s=1 / OPENED_PER_S))
    most = before
    while not streaming.done():
        await sleep(0.25)
        most = max(most, resident(server))
    say(
        f"{name}, {streams} open streams: {(most - before) / streams / 1024:.1f} KiB each,"
        f" {before >> 20} MiB before, {most >> 20} MiB at the most"
    )
    await streaming


async def stream(
    server: Server, path: str, key: str, model: str, callers: int, apart_s: float = 0
) -> float:
    """Run one stream per caller, all at once or begun apart; return the seconds it took.

    Raises:
        RuntimeError: when one failed.

    """
    body = (
        f'{{"model":"{model}","stream":true,"max_tokens":4000,'
        '"messages":[{"role":"user","content":"Hello there"}]}'
    )
    url = server.url + path
    result = await drive(
        url, post_request(url, key, body.encode()), callers=callers, seconds=0, apart_s=apart_s
    )
    if result.failures:
        raise RuntimeError(f"{result.failures} of {callers} streams failed: {result.why}")
    return result.seconds


def cpu_s(server: Server) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return times.user + times.system


def resident(server: Server) -> int:
    return psutil.Process(server.pid).memory_info().rss


def prove(bench: Bench) -> None:
    from billing.database import connect_sync
    from billing.proof import prove as run_proof

    with connect_sync(bench.database_url, "bench", statement_timeout_ms=600_000) as connection:
        proof = run_proof(connection, bench.folder / "journal")
    broken = [finding.number for finding in proof.findings if finding.rows]
    say("proof: " + ("clean" if proof.clean else f"NOT clean: {broken}"))
    if not proof.clean:
        raise SystemExit(1)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

"""``./tollgate bench books``: what the books alone can do, on real PostgreSQL with fsync.

1. Holds and settlements through one process's writer, as calls bring them: each waits for its hold
   and leaves its settlement behind. One hot organization, then fifty.
2. Usage rows a second where settlements alone are written.
3. The proof over everything that was settled so far, ``--rows`` at least.
4. The queries of pages and API over ``--usage-rows`` of one organization, most of them past hours.
"""

import asyncio
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, LiteralString
from uuid import uuid4

from stack.services import start_services
from tests.bench.stand import set_up

WAITING = 128
CHUNK = 256
PROVEN_ROWS = 1_000_000
READ_ROWS = 10_000_000


@dataclass(frozen=True)
class Tariff:
    version_id: int
    price: Any


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="tollgate bench books", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="per rate")
    parser.add_argument("--rows", type=int, default=PROVEN_ROWS, help="to prove over")
    parser.add_argument("--usage-rows", type=int, default=READ_ROWS, help="to query")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tollgate-books-"))
    services = start_services(folder)
    try:
        set_up(services, folder)
        measure_books(services.database_url, folder, options)
        measure_reading(services.database_url, options.usage_rows)
    finally:
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure_books(database_url: str, folder: Path, options: Any) -> None:
    from tests.factories import make_price, make_tenant

    version, price = make_price()
    tariff = Tariff(version.pk, price)
    tenants = [make_tenant(f"Org {number}", credit_usd="1000000") for number in range(50)]
    for name, owners in (("one hot organization", tenants[:1]), ("50 organizations", tenants)):
        pairs = asyncio.run(pairs_per_second(database_url, folder, owners, tariff, options.seconds))
        say(f"hold + settle, {name}: {pairs:.0f} a second")
    total = count(database_url)
    settle_s, written = 0.0, 0
    while written < 20_000 or total + written < options.rows:
        took_s, rows = settle_many(database_url, tenants, tariff, chunks=40)
        settle_s += took_s
        written += rows
    say(f"usage rows written by settlements: {written / settle_s:.0f} a second")
    vacuum(database_url)
    prove_all(database_url)


async def pairs_per_second(
    database_url: str, folder: Path, tenants: Sequence[Any], tariff: Tariff, seconds: float
) -> float:
    """Run the calls of one process against its writer and journal, without the gateway."""
    from billing.holds import HoldRequest
    from billing.journal import Journal
    from billing.writer import Writer
    from kernel.ids import new_request_id
    from tests.books import settlement

    journal = Journal(folder / "journal", f"bench-{uuid4().hex[:8]}")
    writer = Writer(database_url, journal)
    await writer.start()
    deadline = perf_counter() + seconds
    done = 0

    async def caller(number: int) -> None:
        nonlocal done
        tenant = tenants[number % len(tenants)]
        ids = (tenant.org.pk, tenant.project.pk, tenant.key.pk)
        while perf_counter() < deadline:
            request_id = new_request_id()
            journal.open_calls([request_id])
            refusal = await writer.hold(
                HoldRequest(request_id, *ids, "m", tariff.version_id, 5_000_000, 600)
            )
            assert refusal is None, refusal
            closing = settlement(request_id, tariff.price, input_tokens=500, output_tokens=300)
            journal.close_call(closing)
            writer.close(closing)
            done += 1

    started = perf_counter()
    await asyncio.gather(*(caller(number) for number in range(WAITING)))
    await writer.stop(30)
    return done / (perf_counter() - started)


def settle_many(
    database_url: str, tenants: Sequence[Any], tariff: Tariff, *, chunks: int
) -> tuple[float, int]:
    """Hold chunks of calls, then settle them; only the settling is timed."""
    from billing import tick
    from billing.database import connect_sync
    from billing.holds import HoldRequest
    from kernel.ids import new_request_id
    from tests.books import settlement

    batches = []
    with connect_sync(database_url, "bench", statement_timeout_ms=60_000) as connection:
        for chunk in range(chunks):
            tenant = tenants[chunk % len(tenants)]
            ids = (tenant.org.pk, tenant.project.pk, tenant.key.pk)
            holds = [
                HoldRequest(new_request_id(), *ids, "m", tariff.version_id, 5_000_000, 600)
                for _ in range(CHUNK)
            ]
            connection.execute(tick.STATEMENT, tick.arguments((), (), holds, "bench"))
            batches.append(
                [
                    settlement(hold.request_id, tariff.price, input_tokens=500, output_tokens=300)
                    for hold in holds
                ]
            )
        started = perf_counter()
        for closings in batches:
            connection.execute(tick.STATEMENT, tick.arguments(closings, (), (), "bench"))
        return perf_counter() - started, chunks * CHUNK


def count(database_url: str) -> int:
    import psycopg

    with psycopg.connect(database_url) as connection:
        row = connection.execute("select count(*) from billing_usageid").fetchone()
    assert row is not None
    return int(row[0])


def vacuum(database_url: str) -> None:
    """Give the planner statistics, as autovacuum does within minutes."""
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def prove_all(database_url: str) -> None:
    from billing.database import connect_sync
    from billing.proof import prove
    from tests.books import NOWHERE

    rows = count(database_url)
    with connect_sync(database_url, "bench", statement_timeout_ms=600_000) as connection:
        proof = prove(connection, NOWHERE)
    broken = [finding.number for finding in proof.findings if finding.rows]
    say(f"proof over {rows} calls: {'clean' if proof.clean else broken}, {proof.duration_ms} ms")
    if broken:
        raise SystemExit(1)


# In order of time, as calls are settled.
USAGE: LiteralString = """
insert into billing_usageevent (request_id, occurred_at, org_id, project_id, key_id, model,
  provider, price_version_id, input, output, request, evidence, outcome, list_nanos, amount_nanos,
  first_token_ms, duration_ms)
select 'read_' || %(start)s + n,
  now() - interval '30 days' * (1 - (%(start)s + n)::float8 / %(total)s), %(org)s, %(project)s,
  %(key)s, 'model-' || n %% 8, 'bench', %(version)s, 500, 300, 1, 'counted', 'completed', 0, 0, 120,
  900
from generate_series(1, %(rows)s) n
"""


def measure_reading(database_url: str, rows: int) -> None:
    """Fill one organization's past month and read it as pages and programs do."""
    import psycopg

    from billing.models import PriceVersion
    from tests.factories import make_tenant

    reader = make_tenant("Reader")
    version = PriceVersion.objects.first()
    assert version is not None
    with psycopg.connect(database_url, autocommit=True) as connection:
        for start in range(0, rows, 500_000):
            connection.execute(
                USAGE,
                {
                    "start": start,
                    "rows": min(500_000, rows - start),
                    "total": rows,
                    "org": reader.org.pk,
                    "project": reader.project.pk,
                    "key": reader.key.pk,
                    "version": version.pk,
                },
            )
        while (taken := connection.execute("select roll_up(50000)").fetchone()) and taken[0]:
            pass
    vacuum(database_url)
    say(f"reading {rows} usage rows of one organization:")
    for name, read in readers(reader.org):
        read()
        times = []
        for _ in range(5):
            started = perf_counter()
            read()
            times.append(perf_counter() - started)
        say(f"  {name}: {sorted(times)[2] * 1000:.1f} ms")


def readers(org: Any) -> list[tuple[str, Callable[[], object]]]:
    from datetime import timedelta

    from billing.overview import read_calls, read_spend
    from billing.rollups import UsageFilter, read_usage
    from billing.standing import read_credits
    from kernel import clock

    now = clock.now()
    by = frozenset({"model", "key"})
    month = UsageFilter(org.pk, now - timedelta(days=30), now, 86_400, by)
    day = UsageFilter(org.pk, now - timedelta(days=1), now, 3_600, by)
    hour = UsageFilter(org.pk, now - timedelta(hours=1), now, 60, by)
    return [
        ("usage of 30 days by day, key and model", lambda: read_usage(month, most=1_000)),
        ("usage of a day by hour, key and model", lambda: read_usage(day, most=1_000)),
        ("usage of an hour by minute, key and model", lambda: read_usage(hour, most=1_000)),
        ("credits", lambda: read_credits(org)),
        ("home page: spend of 30 days", lambda: read_spend(org)),
        ("home page: last calls", lambda: read_calls(org)),
    ]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

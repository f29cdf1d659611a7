"""What a batch costs depends on what is in it, not on how much there is beside it."""

from collections.abc import Sequence
from typing import LiteralString

from billing import tick
from billing.database import connect_sync
from billing.holds import Closing, HoldRequest
from tests.books import run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant

BATCH = 10
ROWS_READ: LiteralString = """
select relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
from pg_stat_xact_user_tables where relname in ('billing_hold', 'billing_ledgeraccount')
"""


def rows_read(
    database: str, closings: Sequence[Closing], holds: Sequence[HoldRequest]
) -> dict[str, int]:
    """Run a batch as a new process does; return how many rows of large tables it looks at."""
    with (
        connect_sync(database, "test", statement_timeout_ms=10_000) as connection,
        connection.transaction(),
    ):
        connection.execute(tick.STATEMENT, tick.arguments(closings, (), holds, "test"))
        return dict(connection.execute(ROWS_READ).fetchall())


def test_open_holds_and_other_organizations_are_not_looked_at(database: str) -> None:
    acme = make_tenant(credit_usd="1")
    version, price = make_price()

    def batch() -> dict[str, int]:
        held = [hold_request(acme, version, 1_000_000) for _ in range(BATCH)]
        run_tick(database, holds=held)
        closings = [
            settlement(each.request_id, price, input_tokens=1, output_tokens=1) for each in held
        ]
        fresh = [hold_request(acme, version, 1_000_000) for _ in range(BATCH)]
        return rows_read(database, closings, fresh)

    alone = batch()
    for number in range(40):
        make_tenant(f"Acme {number}")
    for _ in range(4):
        run_tick(database, holds=[hold_request(acme, version, 1_000) for _ in range(100)])
    beside_others = batch()

    assert 2 * BATCH <= alone["billing_hold"] <= beside_others["billing_hold"] <= 10 * BATCH
    assert alone["billing_ledgeraccount"] >= beside_others["billing_ledgeraccount"] > 0

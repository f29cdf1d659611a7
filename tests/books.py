"""Looking at the books in tests: one tick by hand, and the proof that must be clean."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import LiteralString, Self

import psycopg

from billing import tick
from billing.database import connect_sync
from billing.holds import Act, Closing, Extension, HoldRequest, Outcome
from billing.pricing import Price
from billing.proof import prove
from billing.usage import Usage

NOWHERE = Path("/nonexistent")


def run_tick(
    database_url: str,
    *,
    closings: Sequence[Closing] = (),
    extensions: Sequence[Extension] = (),
    holds: Sequence[HoldRequest] = (),
    owner: str = "test",
) -> tick.TickAnswer:
    with connect_sync(database_url, "test", statement_timeout_ms=10_000) as connection:
        row = connection.execute(
            tick.STATEMENT, tick.arguments(closings, extensions, holds, owner)
        ).fetchone()
    assert row is not None
    return tick.parse_answer(row[0])


def settlement(request_id: str, price: Price, *, input_tokens: int, output_tokens: int) -> Closing:
    usage = Usage(input=input_tokens, output=output_tokens, request=1)
    return Closing(
        request_id,
        Act.SETTLE,
        usage=usage,
        charge_nanos=price.charge(usage),
        outcome=Outcome.COMPLETED,
        provider="test",
        first_token_ms=1,
        duration_ms=2,
        cache_percent=price.cache_percent,
    )


def assert_proven(database_url: str, journals: Path = NOWHERE) -> None:
    """Every equation of the books holds."""
    with connect_sync(database_url, "proof", statement_timeout_ms=60_000) as connection:
        proof = prove(connection, journals)
    broken = [(f.number, f.promise, f.rows) for f in proof.findings if f.rows]
    assert broken == [], broken


class Onlooker:
    """Asks the database for one number, of one row, as often as it can; the least anybody saw.

    The number is what is left of something: it must never be below 0.
    """

    def __init__(self, database_url: str, query: LiteralString, of: int, *, every_s: float) -> None:
        self.least: int | None = None
        self.looks = 0
        self._url = database_url
        self._query = query
        self._of = of
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(self._every_s):
                row = connection.execute(self._query, (self._of,)).fetchone()
                if row is None or row[0] is None:
                    continue  # a budget has no window before its first call
                self.least = row[0] if self.least is None else min(self.least, row[0])
                self.looks += 1

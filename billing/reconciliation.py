"""The hourly reconciliation: counters recounted from rows, of what moved in the last hours.

1. One snapshot answers every recount and the drift of providers' figures.
2. The run is kept with its findings. A difference names its rows, is an event for the operators in
   the same transaction, and a line in the log. Nothing is repaired: a person decides.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import LiteralString

import orjson
from psycopg import Connection
from psycopg.rows import TupleRow

from billing.drift import Drift, read_drift
from billing.equations import Equation
from billing.notices.kinds import DIFFERS
from billing.notices.outbox import write_event_through
from billing.proof import ROWS_NAMED, Finding
from billing.recounts import RECOUNTS
from kernel.clock import monotonic

HOURS = 3
MOST_HOURS = 24 * 31
MOST_TOLD = 5
DRIFT = "D1", "providers' figures are near our own counts"
STORE: LiteralString = (
    "insert into billing_reconciliationrun (at, hours, is_clean, duration_ms, report)"
    " values (now(), %s, %s, %s, %s::jsonb) returning id"
)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A run that is kept under ``id``; ``findings`` with rows are differences."""

    id: int
    hours: int
    duration_ms: int
    findings: Sequence[Finding]

    @property
    def clean(self) -> bool:
        return not self.differences

    @property
    def differences(self) -> list[str]:
        return [
            f"{finding.number} {row[0]}: {row[1]} ≠ {row[2]}"
            for finding in self.findings
            for row in finding.rows
        ]

    def as_json(self) -> dict[str, object]:
        return {
            "run": self.id,
            "clean": self.clean,
            "hours": self.hours,
            "duration_ms": self.duration_ms,
            "findings": [asdict(finding) for finding in self.findings],
        }


def reconcile(
    connection: Connection[TupleRow], *, drift_percent: int, hours: int = HOURS
) -> Reconciliation:
    """Recount, keep the run, tell of differences; needs a connection not in a transaction."""
    assert 1 <= hours <= MOST_HOURS
    started = monotonic()
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        now = _now(connection)
        since = now - timedelta(hours=hours)
        findings = [_recount(connection, each, since) for each in RECOUNTS]
        findings.append(_find_drift(read_drift(connection, since, now), drift_percent))
    return _keep(connection, hours, round((monotonic() - started) * 1000), findings)


def _keep(
    connection: Connection[TupleRow], hours: int, duration_ms: int, findings: Sequence[Finding]
) -> Reconciliation:
    report = orjson.dumps([asdict(finding) for finding in findings]).decode()
    is_clean = not any(finding.rows for finding in findings)
    with connection.transaction():
        row = connection.execute(STORE, (hours, is_clean, duration_ms, report)).fetchone()
        assert row is not None
        run = Reconciliation(row[0], hours, duration_ms, findings)
        if not is_clean:
            told = {
                "run": run.id,
                "hours": hours,
                "differences": len(run.differences),
                "first": run.differences[:MOST_TOLD],
            }
            write_event_through(connection, DIFFERS, told)
    return run


def _recount(connection: Connection[TupleRow], recount: Equation, since: datetime) -> Finding:
    limited: LiteralString = "select * from (" + recount.query + ") differing limit %(most)s"  # noqa: S608 # ours
    rows = connection.execute(limited, {"since": since, "most": ROWS_NAMED}).fetchall()
    named = [[str(value) for value in row] for row in rows]
    return Finding(recount.number, recount.promise, named)


def _find_drift(drifts: Sequence[Drift], percent: int) -> Finding:
    rows = [
        [f"{drift.provider} {drift.model} {name} tokens", str(side.reported), str(side.counted)]
        for drift in drifts
        for name, side in drift.alarms(percent)
    ]
    return Finding(*DRIFT, rows)


def _now(connection: Connection[TupleRow]) -> datetime:
    row = connection.execute("select now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now

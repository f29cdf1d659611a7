"""The proof: every equation over one snapshot of the books, and the journals beside them."""

import fcntl
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import LiteralString

import orjson
from psycopg import Connection
from psycopg.rows import TupleRow

from billing.equations import EQUATIONS
from billing.holds import Act
from billing.journal import SUFFIX, read_records
from billing.notices.kinds import BROKEN
from billing.notices.outbox import write_event_through
from kernel import clock
from kernel.clock import monotonic

ROWS_NAMED = 20
ADOPTED_WITHIN_S = 60
MOST_TOLD = 5
STORE: LiteralString = (
    "insert into billing_proofrun (at, is_clean, duration_ms, report)"
    " values (now(), %s, %s, %s::jsonb) returning id"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """An equation's result: the first rows that break it, each as what, left, right."""

    number: str
    promise: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Proof:
    findings: Sequence[Finding]
    duration_ms: int

    @property
    def clean(self) -> bool:
        return not any(finding.rows for finding in self.findings)

    def as_json(self) -> bytes:
        return orjson.dumps(
            {
                "clean": self.clean,
                "duration_ms": self.duration_ms,
                "equations": [asdict(finding) for finding in self.findings],
            }
        )


def prove(connection: Connection[TupleRow], journals: Path) -> Proof:
    """Check everything, keep the result, tell operators of what is broken.

    Needs a connection that is not in a transaction.
    """
    started = monotonic()
    settled_late = _finals(journals)
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        findings = [
            Finding(equation.number, equation.promise, _rows(connection, equation.query))
            for equation in EQUATIONS
        ]
        findings.append(_journal_finding(connection, settled_late))
    proof = Proof(findings, round((monotonic() - started) * 1000))
    with connection.transaction():
        row = connection.execute(
            STORE, (proof.clean, proof.duration_ms, proof.as_json().decode())
        ).fetchone()
        assert row is not None
        if not proof.clean:
            write_event_through(connection, BROKEN, _told(row[0], proof))
    return proof


def _told(run: int, proof: Proof) -> dict[str, object]:
    lines = [
        f"{finding.number} {row[0]}: {row[1]} ≠ {row[2]}"
        for finding in proof.findings
        for row in finding.rows
    ]
    return {"run": run, "differences": len(lines), "first": lines[:MOST_TOLD]}


def _rows(connection: Connection[TupleRow], query: LiteralString) -> list[list[str]]:
    # %% in the equations stands for one %, as psycopg asks where parameters are given
    limited: LiteralString = "select * from (" + query + ") broken limit %s"  # noqa: S608 # ours
    return [
        [str(value) for value in row]
        for row in connection.execute(limited, (ROWS_NAMED,)).fetchall()
    ]


def _finals(journals: Path) -> set[str]:
    """Return requests whose journalled end must be in the books.

    A process that marks an end as done has committed it. What a dead process left is adopted within
    seconds: an end in a file that nobody has locked or written for a minute is owed.
    """
    finals: set[str] = set()
    orphaned: set[str] = set()
    done: set[str] = set()
    for path in sorted(journals.glob(f"*{SUFFIX}")) if journals.is_dir() else ():
        is_orphan = _is_orphan(path)
        for record in read_records(_content(path)):
            if record["t"] == "final" and record["act"] == Act.SETTLE:
                finals.add(record["r"])
                if is_orphan:
                    orphaned.add(record["r"])
            elif record["t"] == "done":
                done.update(record["ids"])
    return finals & done | orphaned


def _is_orphan(path: Path) -> bool:
    """Say whether a journal's process is gone for longer than adoption takes.

    Its age is asked first: the lock of a file that a process has just made must not be touched.
    """
    try:
        age_s = clock.now_s() - path.stat().st_mtime_ns // 10**9
        if age_s < ADOPTED_WITHIN_S:
            return False
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # its owner has finished meanwhile
        return b""


def _journal_finding(connection: Connection[TupleRow], finals: Iterable[str]) -> Finding:
    wanted = list(finals)
    missing = connection.execute(
        "select r, 1, 0 from unnest(%s::text[]) r where not exists"
        " (select 1 from billing_usageid u where u.request_id = r)"
        " and not exists (select 1 from billing_quarantine q where q.request_id = r) limit %s",
        (wanted, ROWS_NAMED),
    ).fetchall()
    rows = [[str(value) for value in row] for row in missing]
    return Finding("I26", "no journalled settlement is without its usage row", rows)

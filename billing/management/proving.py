"""Proving the books from a command, and saying what was found."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings

from billing.database import connect_sync
from billing.proof import Finding, Proof, prove


def prove_now() -> Proof:
    """Prove everything, as long as it takes up to ten minutes a statement."""
    with connect_sync(
        settings.DATABASE_URL, "tollgate-proof", statement_timeout_ms=600_000
    ) as connection:
        return prove(connection, Path(settings.JOURNAL_DIR))


def render_verdict(proof: Proof) -> str:
    verdict = "clean" if proof.clean else "NOT clean"
    return f"{verdict}: {len(proof.findings)} equations in {proof.duration_ms} ms"


def render_findings(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each equation, and one for each row that breaks it."""
    for finding in findings:
        yield f"{'DIFF' if finding.rows else 'ok  '} {finding.number:4} {finding.promise}"
        for row in finding.rows:
            yield f"         {row[0]}: {row[1]} ≠ {row[2]}"

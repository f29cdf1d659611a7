"""Proving the books from a command."""

from pathlib import Path

from django.conf import settings

from billing.database import connect_sync
from billing.proof import Proof, prove


def prove_now() -> Proof:
    """Prove everything, as long as it takes up to ten minutes a statement."""
    with connect_sync(
        settings.DATABASE_URL, "tollgate-proof", statement_timeout_ms=600_000
    ) as connection:
        return prove(connection, Path(settings.JOURNAL_DIR))


def render_verdict(proof: Proof) -> str:
    verdict = "clean" if proof.clean else "NOT clean"
    return f"{verdict}: {len(proof.findings)} equations in {proof.duration_ms} ms"

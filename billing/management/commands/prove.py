"""``./tollgate prove``: every equation of the books; exit code 1 on any difference."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts.commands import one_line_faults
from billing.database import connect_sync
from billing.proof import prove


class Command(BaseCommand):
    help = "Prove the books: each equation holds, or the rows that break it are named."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with (
            one_line_faults(),
            connect_sync(
                settings.DATABASE_URL, "tollgate-proof", statement_timeout_ms=600_000
            ) as connection,
        ):
            proof = prove(connection, Path(settings.JOURNAL_DIR))
        if options["json"]:
            self.stdout.write(json.dumps(json.loads(proof.as_json()), indent=2))
        else:
            for finding in proof.findings:
                self.stdout.write(
                    f"{'DIFF' if finding.rows else 'ok  '} {finding.number:4} {finding.promise}"
                )
                for row in finding.rows:
                    self.stdout.write(f"         {row[0]}: {row[1]} ≠ {row[2]}")
            verdict = "clean" if proof.clean else "NOT clean"
            self.stdout.write(
                f"{verdict}: {len(proof.findings)} equations in {proof.duration_ms} ms"
            )
        if not proof.clean:
            raise SystemExit(1)

"""``./tollgate prove``: every equation of the books; exit code 1 on any difference."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.commands import one_line_faults
from billing.management.proving import prove_now, render_findings, render_verdict
from billing.models import ProofRun
from kernel.cli import print_rows

MOST_LISTED = 48


class Command(BaseCommand):
    help = "Prove the books: each equation holds, or the rows that break it are named."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "verb",
            nargs="?",
            default="run",
            choices=("run", "history"),
            help="prove now, or list the newest runs (with --json what each found)",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_faults():
            if options["verb"] == "history":
                _print_history(as_json=options["json"])
            else:
                self._run(as_json=options["json"])

    def _run(self, *, as_json: bool) -> None:
        proof = prove_now()
        if as_json:
            self.stdout.write(json.dumps(json.loads(proof.as_json()), indent=2))
        else:
            for line in render_findings(proof.findings):
                self.stdout.write(line)
            self.stdout.write(render_verdict(proof))
        if not proof.clean:
            raise SystemExit(1)


def _print_history(*, as_json: bool) -> None:
    rows = [
        {
            "run": run.pk,
            "at": run.at,
            "clean": run.is_clean,
            "duration_ms": run.duration_ms,
            "broken": ", ".join(finding.number for finding in run.broken),
            **({"findings": run.report["equations"]} if as_json else {}),
        }
        for run in ProofRun.objects.order_by("-id")[:MOST_LISTED]
    ]
    print_rows(rows, as_json=as_json)

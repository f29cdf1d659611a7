"""``manage reconcile [history]``: the hourly recount, now; exit code 1 on any difference."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts.commands import one_line_faults
from billing.database import connect_sync
from billing.management.proving import render_findings
from billing.models import ReconciliationRun
from billing.reconciliation import HOURS, MOST_HOURS, reconcile
from kernel.cli import parse_count, print_row, print_rows
from kernel.errors import BadRequestError

MOST_LISTED = 48


class Command(BaseCommand):
    help = "Recount what moved lately from its rows; name every difference, change nothing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "verb",
            nargs="?",
            default="run",
            choices=("run", "history"),
            help="recount now, or list the newest runs (with --json what each found)",
        )
        parser.add_argument("--hours", default=str(HOURS), help="how far back (default 3)")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_faults():
            if options["verb"] == "history":
                _print_history(as_json=options["json"])
            else:
                self._run(options)

    def _run(self, options: dict[str, Any]) -> None:
        hours = parse_count(options["hours"])
        if hours > MOST_HOURS:
            raise BadRequestError(f"{MOST_HOURS} hours at most; ./tollgate prove checks all.")
        with connect_sync(
            settings.DATABASE_URL, "tollgate-reconciliation", statement_timeout_ms=600_000
        ) as connection:
            run = reconcile(connection, drift_percent=settings.DRIFT_ALARM_PERCENT, hours=hours)
        if options["json"]:
            print_row(run.as_json(), as_json=True)
        else:
            for line in render_findings(run.findings):
                self.stdout.write(line)
            verdict = "clean" if run.clean else "NOT clean"
            self.stdout.write(f"{verdict}: run {run.id} over {hours} h in {run.duration_ms} ms")
        if not run.clean:
            raise SystemExit(1)


def _print_history(*, as_json: bool) -> None:
    rows = [
        {
            "run": run.pk,
            "at": run.at,
            "hours": run.hours,
            "clean": run.is_clean,
            "duration_ms": run.duration_ms,
            **({"findings": run.report} if as_json else {}),
        }
        for run in ReconciliationRun.objects.order_by("-id")[:MOST_LISTED]
    ]
    print_rows(rows, as_json=as_json)

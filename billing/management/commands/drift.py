"""``manage drift``: providers' figures beside our own counts, evidence, cost and margin."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts.commands import one_line_faults
from billing.database import connect_sync
from billing.drift import read_drift
from kernel import clock
from kernel.cli import parse_duration, print_rows


class Command(BaseCommand):
    help = "Compare what providers reported with what we counted, by provider and model."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", default="24h", help="how far back: 24h, 30d (default 24h)")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_faults():
            now = clock.now()
            since = now - parse_duration(options["since"])
            with connect_sync(
                settings.DATABASE_URL, "tollgate-drift", statement_timeout_ms=600_000
            ) as connection:
                drifts = read_drift(connection, since, now)
        print_rows([drift.as_row() for drift in drifts], as_json=options["json"])

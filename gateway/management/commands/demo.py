"""``manage demo``: seed the demo organization once. Secrets are printed by the first run only."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts.commands import one_line_faults
from gateway.demo import seed_demo
from kernel.cli import print_row


class Command(BaseCommand):
    help = "Seed the demo organization, its key and the built-in models, once."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_faults():
            demo = seed_demo(test_models=settings.SIMULATOR_TEST_MODELS)
        print_row(asdict(demo), as_json=options["json"])

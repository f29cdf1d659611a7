"""The base of operators' commands: verbs as subcommands, faults as one line and exit code 1."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kernel.errors import TollgateError

ACTOR = "cli"


class VerbCommand(BaseCommand):
    """``manage NOUN VERB …``: subclasses add verbs and a method ``do_<verb>`` for each."""

    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self.add_verbs(verbs)

    def add_verbs(self, verbs: Any) -> None:
        raise NotImplementedError

    def add_verb(self, verbs: Any, name: str, summary: str) -> CommandParser:
        """Add one verb; each can answer in JSON."""
        parser: CommandParser = verbs.add_parser(name, help=summary, description=summary)
        parser.add_argument("--json", action="store_true", help="print JSON")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        verb = str(options["verb"]).replace("-", "_")
        try:
            getattr(self, f"do_{verb}")(options)
        except TollgateError as error:
            raise CommandError(error.message) from error

"""The base of operators' commands: verbs as subcommands, faults as one line and exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DataError, OperationalError

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
        with one_line_faults():
            getattr(self, f"do_{verb}")(options)


@contextmanager
def one_line_faults() -> Iterator[None]:
    """Turn the faults an operator can mend into one line and exit code 1."""
    try:
        yield
    except TollgateError as error:
        raise CommandError(error.message) from error
    except (OperationalError, psycopg.OperationalError) as error:
        raise CommandError("The database does not answer; is the stack up?") from error
    except (DataError, psycopg.DataError) as error:
        raise CommandError(f"A value is too long or out of range: {_first_line(error)}") from error
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be written: {error.strerror}.") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

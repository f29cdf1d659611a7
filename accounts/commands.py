"""The base of operators' commands: verbs as subcommands, faults as one line and exit code 1."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DataError, OperationalError

from accounts.rate_limits import LIMITS
from kernel.cli import parse_count
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


def add_limit_flags(verb: CommandParser) -> None:
    """Add a flag for each rate limit."""
    for limit, what in (
        ("rpm", "requests per minute"),
        ("tpm", "tokens per minute"),
        ("rpd", "requests per day"),
        ("concurrency", "requests at once"),
    ):
        verb.add_argument(f"--{limit}", metavar="N", help=f"{what}, or none")


def read_limits(options: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the rate limits that were given; ``none`` takes one away.

    Raises:
        BadRequestError: for anything but ``none`` and whole numbers from 1 to 10⁹.

    """
    return {
        name: None if text == "none" else parse_count(text)
        for name in LIMITS
        if (text := options[name]) is not None
    }


def limits_of(row: object) -> dict[str, int | None]:
    """Return the rate limits of a key, project, organization or model."""
    return {name: getattr(row, name) for name in LIMITS}


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

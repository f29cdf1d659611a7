"""What operators' commands share: subcommands, ``--json``, and one clear line for a fault."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from kernel.errors import BadRequestError

_DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``2h`` or ``30d``.

    Raises:
        BadRequestError: for anything else, zero included.

    """
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise BadRequestError(f"{text!r} is not a duration: write 90s, 15m, 2h or 30d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_count(text: str) -> int:
    """Read a whole number from 1 to 10⁹, for limits.

    Raises:
        BadRequestError: for anything else.

    """
    return parse_whole(text, 1, 10**9)


def parse_whole(text: str, least: int, most: int) -> int:
    """Read a whole number between two bounds.

    Raises:
        BadRequestError: for anything else.

    """
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or not least <= int(text) <= most:
        raise BadRequestError(f"{text!r} is not a whole number from {least} to {most}.")
    return int(text)


def print_rows(
    rows: Sequence[Mapping[str, Any]], *, as_json: bool, write: Callable[[str], Any] | None = None
) -> None:
    """Print rows as JSON or as an aligned table."""
    out = write or sys.stdout.write
    if as_json:
        out(json.dumps(list(rows), indent=2, default=str) + "\n")
        return
    if not rows:
        out("(none)\n")
        return
    names = list(rows[0])
    table = [names, *[[_cell(row[name]) for name in names] for row in rows]]
    widths = [max(len(line[column]) for line in table) for column in range(len(names))]
    for line in table:
        out(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            + "\n"
        )


def print_row(
    row: Mapping[str, Any], *, as_json: bool, write: Callable[[str], Any] | None = None
) -> None:
    """Print one row as a JSON object or as ``name: value`` lines."""
    out = write or sys.stdout.write
    if as_json:
        out(json.dumps(dict(row), indent=2, default=str) + "\n")
        return
    for name, value in row.items():
        out(f"{name}: {_cell(value)}\n")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value) or "-"
    return str(value)

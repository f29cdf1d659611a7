"""Writing an export: streamed rows, a row count, a control total, a hash.

Rows come through a cursor on the server inside one snapshot; nothing is held in memory but a page.
A cell that a spreadsheet would run as a formula is escaped.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, TextIO

from psycopg import Connection
from psycopg.rows import TupleRow

PAGE = 2_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class ExportResult:
    """``control_nanos`` is the file's own total, ``ledger_nanos`` what it must be."""

    rows: int
    control_nanos: int
    ledger_nanos: int
    sha256: str

    @property
    def agrees(self) -> bool:
        return self.control_nanos == self.ledger_nanos


def stream_rows(
    connection: Connection[TupleRow], query: LiteralString, parameters: Sequence[object]
) -> Iterator[TupleRow]:
    """Yield a query's rows a page at a time; needs an open transaction."""
    with connection.cursor(name="export") as cursor:
        cursor.itersize = PAGE
        cursor.execute(query, parameters)
        yield from cursor


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write a header and rows; return how many rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([escape_cell(cell) for cell in row])
        count += 1
    return count


def escape_cell(cell: object) -> str:
    """Return a cell's text. What begins like a formula gets an apostrophe; numbers stay numbers."""
    if cell is None:
        return ""
    text = str(cell)
    if isinstance(cell, str) and text.startswith(_FORMULA) and not _is_number(text):
        return "'" + text
    return text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The money statements that live in the database, one file a subject."""

from pathlib import Path

from django.db.migrations import RunSQL

_FOLDER = Path(__file__).parent


def install(name: str) -> RunSQL:
    """Return the migration operation that installs a file; files replace what they define."""
    return RunSQL((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"), RunSQL.noop)

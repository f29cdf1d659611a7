"""The money statements that live in the database, one file a subject."""

from pathlib import Path

from django.db.migrations import RunSQL

_FOLDER = Path(__file__).parent


def install(name: str) -> RunSQL:
    """Return the migration operation that installs a file; files replace what they define.

    Every migration installs the newest text, so an early one may name tables that a later one
    makes: bodies are checked when they run, and that is after the last.
    """
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return RunSQL(["set local check_function_bodies = off", text], RunSQL.noop)

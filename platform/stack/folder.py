"""The data folder: what lies where in DATA_DIR, and the lock that gives it one owner at a time.

``secrets.env`` and ``demo.json`` (mode 0600) · ``lock`` · ``postgres/``, ``redis/`` · ``logs/`` ·
``run/``: the sockets and ``env``, true only while a stack runs.
"""

import fcntl
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .errors import StackError

# sun_path holds 107 bytes on Linux and 103 on macOS; the longest name we put there is PostgreSQL's.
LONGEST_SOCKET_PATH_BYTES = 100
LONGEST_SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True, slots=True)
class DataFolder:
    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def sockets(self) -> Path:
        """``run``, or for a path too long for a socket, a folder of the same owner under /tmp."""
        if len(os.fsencode(self.run / LONGEST_SOCKET_NAME)) <= LONGEST_SOCKET_PATH_BYTES:
            return self.run
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tollgate-{os.getuid()}-{digest}"


def open_data_folder(path: Path) -> DataFolder:
    """Make the folder and its parts where they are missing.

    Raises: StackError when it cannot be written, or when a socket folder belongs to someone else.
    """
    folder = DataFolder(path.resolve())
    try:
        for part in (folder.root, folder.run, folder.logs, folder.sockets):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"{error.filename} cannot be made ({error.strerror}): set DATA_DIR to a folder you own."
        ) from None
    if not os.access(folder.root, os.W_OK):
        raise StackError(f"{folder.root} is not yours to write: set DATA_DIR to a folder you own.")
    sockets = folder.sockets.lstat()
    if sockets.st_uid != os.getuid() or not stat.S_ISDIR(sockets.st_mode):
        raise StackError(f"{folder.sockets} is not a folder of ours alone: remove it.")
    return folder


def lock_data_folder(folder: DataFolder) -> TextIO:
    """Return the held lock; closing it, or dying in any way, lets it go.

    Raises: StackError when another stack holds it.
    """
    lock = (folder.root / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StackError(
            f"A stack already runs on {folder.root} (process {holder}): stop it, "
            "or set DATA_DIR to another folder."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock

"""Whom PostgreSQL runs as. It refuses root, and ``initdb`` wants a user the machine knows by name.

An ordinary user needs nothing. Root, or a number without a name (usual in containers), goes through
``unshare``: a user namespace in which we bear another number while files stay ours. Where that is
refused (containers often do), root becomes ``nobody`` and keeps one capability, to pass folders
that only root may enter; the data then belong to ``nobody``. Copying the programs to a folder
everyone can read was tried: it does not help when the *data* lie below root's home.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .errors import StackError


class Way(StrEnum):
    PLAIN = "plain"
    UNSHARE = "unshare"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Identity:
    """``prefix`` goes before a command; ``owner`` is who must own the data, seen from here."""

    prefix: tuple[str, ...]
    owner: int


def choose_identity(way: Way | None = None) -> Identity:
    """Return how to run PostgreSQL here; ``way`` forces one, for tests.

    Raises: StackError when every way is refused.
    """
    uid = os.getuid()
    ways = [way] if way else _usual_ways(uid)
    for each in ways:
        identity = _identity(each, uid)
        if not identity.prefix or _works(identity.prefix):
            return identity
    raise StackError(
        "PostgreSQL does not run as root, and neither unshare nor setpriv could change the user: "
        "start the stack as an ordinary user, or set DATABASE_URL."
    )


def give(folder: Path, owner: int) -> None:
    """Make ``owner`` own the folder, once: a stack may have run here in another way before."""
    if os.getuid() != 0 or folder.stat().st_uid == owner:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, owner, -1, follow_symlinks=False)
    os.chown(folder, owner, -1)  # last: a walk cut short is walked again


def _usual_ways(uid: int) -> list[Way]:
    if uid == 0:
        return [Way.UNSHARE, Way.NOBODY]
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return [Way.UNSHARE, Way.PLAIN]
    return [Way.PLAIN]


def _identity(way: Way, uid: int) -> Identity:
    if way is Way.PLAIN:
        return Identity((), uid)
    user, group = _ordinary_user()
    if way is Way.UNSHARE:
        return Identity(("unshare", "-U", f"--map-user={user}", f"--map-group={group}"), uid)
    passing = "-all,+dac_override"
    return Identity(
        (
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
            # access(2), by which initdb looks for its programs, forgets capabilities otherwise
            "--securebits=+no_setuid_fixup",
            *(f"--inh-caps={passing}", f"--ambient-caps={passing}", f"--bounding-set={passing}"),
        ),
        user,
    )


def _ordinary_user() -> tuple[int, int]:
    """Return the numbers of a user this machine knows by name: nobody, else any but root."""
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
        return (others[0].pw_uid, others[0].pw_gid) if others else (65534, 65534)
    return user.pw_uid, user.pw_gid


def _works(prefix: tuple[str, ...]) -> bool:
    try:
        return not subprocess.run([*prefix, "true"], capture_output=True, timeout=10).returncode  # noqa: PLW1510
    except (OSError, subprocess.TimeoutExpired):
        return False

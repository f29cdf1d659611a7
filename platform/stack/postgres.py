"""An embedded PostgreSQL on a unix socket.

1. First start: ``initdb`` and the database's creation happen in ``postgres.new``, which is renamed
   to ``postgres`` when complete, so an interrupted first start leaves nothing half-made.
2. Start: what a killed forerunner left (sessions still busy, a pid since given to someone else) is
   ended or cleared away; PostgreSQL replays its log by itself.
3. Ready: ``postmaster.pid`` says so in its eighth line, the sign ``pg_ctl`` waits for as well.
4. Stop: SIGINT, the fast shutdown. When *we* die, the kernel sends SIGQUIT, the immediate one: it
   also ends sessions that are busy, which would outlive a SIGKILL of their postmaster.
"""

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from .binaries import find_postgres_bin
from .child import Child, Command, run_once
from .errors import StackError
from .folder import DataFolder
from .identity import Identity, Way, choose_identity, give

NAME = "tollgate"  # of the database and of its owner
CONSOLE_ROLE = "tollgate_console"
FORERUNNER_TIMEOUT_S = 15.0
STATUS_LINE = 7  # of postmaster.pid, counted from 0: starting, ready, stopping
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_locks_per_transaction": "256",  # partitioned tables lock every partition they visit
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}
# For tests. synchronous_commit stays on: without fsync it costs one write(), and with it off a
# killed server would lose commits it had confirmed, which is just what fault tests look for.
NOT_DURABLE = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def postgres_url(folder: DataFolder, role: str = NAME) -> str:
    return f"postgresql://{role}@/{NAME}?host={quote(str(folder.sockets), safe='/')}"


def embedded_postgres(folder: DataFolder, *, durable: bool, way: Way | None = None) -> Child:
    """Return the server, its data made but itself not yet started.

    Raises: StackError when there is no PostgreSQL, or its data cannot be made.
    """
    programs, identity = find_postgres_bin(), choose_identity(way)
    data = folder.root / "postgres"
    env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    if not data.exists():
        _create(folder, programs, identity, env)
    give(data, identity.owner)
    settings = {**SETTINGS, **({} if durable else NOT_DURABLE)}
    settings["unix_socket_directories"] = str(folder.sockets)
    command = Command(
        name="postgres",
        argv=(
            str(programs / "postgres"),
            *("-D", str(data)),
            *(f"--{name}={value}" for name, value in settings.items()),
        ),
        log=folder.logs / "postgres.log",
        env=env,
        prefix=identity.prefix,
        stop_signal=signal.SIGINT,
        stop_timeout_s=30.0,
        death_signal=signal.SIGQUIT,
    )
    return Child(
        command, is_ready=lambda child: _is_ready(child, data), prepare=lambda: _clear(data)
    )


def _create(folder: DataFolder, programs: Path, identity: Identity, env: dict[str, str]) -> None:
    new = folder.root / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    give(new, identity.owner)

    def run(program: str, *arguments: str, stdin: str = "") -> None:
        command = Command(
            name=program,
            argv=(str(programs / program), *arguments),
            log=folder.logs / "postgres.log",
            env=env,
            prefix=identity.prefix,
        )
        run_once(command, timeout_s=120, stdin=stdin)

    local = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")  # the socket's folder is 0700
    run("initdb", "-D", str(new), "-U", NAME, *local, "--no-sync")
    run("postgres", "--single", "-D", str(new), "postgres", stdin=f"CREATE DATABASE {NAME};\n")
    os.sync()
    new.rename(folder.root / "postgres")


def _is_ready(child: Child, data: Path) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    mine = bool(lines) and lines[0].strip() == str(child.pid)
    return mine and len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"


def _clear(data: Path) -> None:
    """End what a killed forerunner left running; forget a pid that is not its own any more.

    The folder's lock is ours, so any server in it lost its master. A session that is busy would not
    notice by itself. PostgreSQL also refuses to start while the pid in its file is alive, whoever
    has it: after a restart of a container that is always somebody.
    """
    deadline = time.monotonic() + FORERUNNER_TIMEOUT_S
    while servers := _servers(data):
        for pid in servers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGQUIT)
        if time.monotonic() > deadline:
            raise StackError(
                f"PostgreSQL (process {servers[0]}) still runs on {data}: stop it first."
            )
        time.sleep(0.05)
    if Path("/proc/self").exists():  # else we cannot know whose pid it is; PostgreSQL decides
        (data / "postmaster.pid").unlink(missing_ok=True)


def _servers(data: Path) -> list[int]:
    """Return the server processes of this folder: they all live in it. Linux only; else none."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if cwd.readlink() == data:
                found.append(int(cwd.parent.name))
    return found

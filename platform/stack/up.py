"""``./tollgate up``: the whole platform on one machine, from one command.

1. Read the settings and take both ports; an odd value or a busy port ends the start at once.
2. Start PostgreSQL and Redis, unless their URLs are given (``services.py``).
3. Migrate, and seed the demo organisation once (``demo.py``).
4. Start api, web, worker and beat, and wait until each answers (``roles.py``).
5. Say where everything is.
6. Heal what dies until Ctrl-C or SIGTERM, then stop all in the reverse order (``supervisor.py``).
"""

import errno
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass

from . import roles
from .child import Command, run_once
from .demo import describe, seed
from .environment import (
    ROOT,
    data_dir,
    forget_environment,
    generate_secrets,
    record_environment,
    secrets_of,
)
from .errors import StackError, StopRequestedError
from .interrupts import Interrupts
from .postgres import CONSOLE_ROLE, postgres_url
from .services import Services, start_services
from .supervisor import Group, Supervisor
from .terminal import complain, say

START_TIMEOUT_S = 90.0
MIGRATE_TIMEOUT_S = 600.0
PORT_PATIENCE_S = 1.0  # a stack killed this instant is still closing its sockets
BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the stack listens, and how many processes serve the API."""

    api_workers: int
    api: socket.socket
    web: socket.socket


def up() -> int:
    """Run the stack until it is told to stop, and return the exit code."""
    with Interrupts() as interrupts:
        try:
            with ExitStack() as cleanup:
                try:
                    _run(interrupts, cleanup)
                finally:
                    interrupts.stop_raising()  # nothing may cut the clean-up short
        except StopRequestedError:
            pass
        except StackError as error:
            complain(str(error))
            return 1
        except OSError as error:  # a full disk, a file of another user
            complain(f"{error.filename or 'The system refused'}: {error.strerror}.")
            return 1
    return 0


def _run(interrupts: Interrupts, cleanup: ExitStack) -> None:
    doors = _open_doors(cleanup)

    say("Starting PostgreSQL and Redis …")
    services = start_services(
        data_dir(), database_url=_env("DATABASE_URL"), redis_url=_env("REDIS_URL")
    )
    cleanup.callback(services.stop)
    env = _environment(services, doors)
    cleanup.callback(forget_environment, services.folder)

    say("Migrating …")
    _manage(services, env, "migrate", "--no-input")
    _manage(services, env, "console_role")
    demo = seed(services.folder, env)

    say("Starting api, web, worker and beat …")
    logs = services.folder.logs
    supervisor = Supervisor(interrupts)
    cleanup.callback(supervisor.stop)
    cleanup.callback(say, "Stopping …")
    api = [roles.api(n, doors.api, env, logs) for n in range(1, doors.api_workers + 1)]
    behind = [
        Group([roles.beat(env, logs)]),
        Group([roles.worker(env, logs)]),
        Group([roles.web(doors.web, env, logs)], doors.web),
    ]
    # the API says that it is ready to whoever asks: by then all of it should be, and said to be
    supervisor.start(behind, START_TIMEOUT_S)
    supervisor.start([Group(api, doors.api)], START_TIMEOUT_S)
    say(describe(demo, env, logs))
    supervisor.watch(also=services.embedded())


def _open_doors(cleanup: ExitStack) -> Doors:
    bind, workers = _env("BIND") or "127.0.0.1", _whole_number("API_WORKERS", 1, 64)
    api_port, web_port = (
        _whole_number("API_PORT", 8080, 65535),
        _whole_number("WEB_PORT", 8000, 65535),
    )
    api = cleanup.enter_context(_listen(bind, "API_PORT", api_port))
    web = cleanup.enter_context(_listen(bind, "WEB_PORT", web_port))
    return Doors(workers, api, web)


def _listen(bind: str, name: str, port: int) -> socket.socket:
    """Take a port for the whole life of the stack; the children only borrow it.

    Raises: StackError when someone else has it.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    deadline = time.monotonic() + PORT_PATIENCE_S
    while True:
        try:
            return socket.create_server((bind, port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise StackError(
                    f"{name}: cannot listen on {bind} port {port}: {reason}."
                ) from None
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name}: port {port} on {bind} is in use: stop what uses it, "
                    f"or set {name} to another port."
                ) from None
        time.sleep(0.1)


def _environment(services: Services, doors: Doors) -> dict[str, str]:
    """Return the children's environment, and leave its addresses for ``./tollgate manage``."""
    generate_secrets(services.folder)
    console = (
        "" if services.embedded_postgres is None else postgres_url(services.folder, CONSOLE_ROLE)
    )
    addresses = {
        "DATABASE_URL": services.database_url,
        "CONSOLE_DATABASE_URL": _env("CONSOLE_DATABASE_URL") or console,
        "REDIS_URL": services.redis_url,
        "API_PORT": str(doors.api.getsockname()[1]),
        "WEB_PORT": str(doors.web.getsockname()[1]),
    }
    record_environment(services.folder, addresses)
    return {
        **secrets_of(services.folder),
        **{name: value for name, value in os.environ.items() if value.strip()},
        **addresses,
        "DATA_DIR": str(services.folder.root),
        "API_WORKERS": str(doors.api_workers),
        "SHUTDOWN_S": str(_whole_number("SHUTDOWN_S", 120, 600)),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": roles.PATHS,
        "PYTHONUNBUFFERED": "1",
    }


def _manage(services: Services, env: dict[str, str], *arguments: str) -> None:
    command = Command(
        name=arguments[0],
        argv=roles.manage(*arguments),
        env=env,
        cwd=ROOT,
        log=services.folder.logs / "migrate.log",
    )
    run_once(command, timeout_s=MIGRATE_TIMEOUT_S)


def _env(name: str) -> str:
    return os.environ.get(name, "").strip()


def _whole_number(name: str, default: int, highest: int) -> int:
    value = _env(name) or str(default)
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= highest):
        raise StackError(f"{name}={value[:40]!r} must be a whole number from 1 to {highest}.")
    return int(value)

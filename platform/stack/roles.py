"""The processes of Tollgate itself: how each is started and how it shows that it is ready."""

import http.client
import os
import socket
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from .child import Child, Command
from .environment import ROOT

PROBE_TIMEOUT_S = 2.0
PATHS = os.pathsep.join((str(ROOT), str(ROOT / "platform")))


def manage(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "manage.py"), *arguments)


def api(number: int, listener: socket.socket, env: Mapping[str, str], logs: Path) -> Child:
    """Return one of the api processes that share ``listener``.

    One answer on the shared socket does not tell which process gave it, so each must also have
    said in its own log that it is up. Told to stop, it waits SHUTDOWN_S for its open streams.
    """
    command = Command(
        name=f"api-{number}",
        argv=(
            *(sys.executable, "-m", "config.server", "--fd", str(listener.fileno())),
            *("--graceful", env["SHUTDOWN_S"]),
        ),
        env={**env, "SERVE": "api"},
        cwd=ROOT,
        log=logs / f"api-{number}.log",
        stop_timeout_s=int(env["SHUTDOWN_S"]) + 5.0,
        pass_fds=(listener.fileno(),),
    )
    return Child(
        command,
        is_ready=lambda child: (
            "Application startup complete" in child.written()
            and _get(listener, "/readyz") == HTTPStatus.OK
        ),
    )


def web(listener: socket.socket, env: Mapping[str, str], logs: Path) -> Child:
    command = Command(
        name="web",
        argv=(
            *(sys.executable, "-m", "daphne", "--fd", str(listener.fileno())),
            *("--no-server-name", "-v", "0", "config.asgi:application"),
        ),
        env={**env, "SERVE": "web"},
        cwd=ROOT,
        log=logs / "web.log",
        pass_fds=(listener.fileno(),),
    )
    return Child(command, is_ready=lambda _: _get(listener, "/healthz") == HTTPStatus.OK)


def worker(env: Mapping[str, str], logs: Path) -> Child:
    """Return the Celery worker. Its pool dies with it: Celery asks the kernel for that."""
    arguments = ("--concurrency", "2", "--without-gossip", "--without-mingle")
    command = _celery("worker", arguments, env, logs, stop_timeout_s=30.0)
    return Child(command, is_ready=lambda child: " ready." in child.written())


def beat(env: Mapping[str, str], logs: Path) -> Child:
    """Return the clock. It may miss a signal that comes just as it starts, and may be killed."""
    arguments = ("--scheduler", "django_celery_beat.schedulers:DatabaseScheduler")
    command = _celery("beat", arguments, env, logs, stop_timeout_s=3.0)
    return Child(command, is_ready=lambda child: "beat: Starting..." in child.written())


def _celery(
    name: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    logs: Path,
    *,
    stop_timeout_s: float,
) -> Command:
    """Both signs of readiness are lines of level INFO, so that is the level."""
    return Command(
        name=name,
        argv=(
            *(sys.executable, "-m", "celery", "-A", "config.celery", name, *arguments),
            *("--loglevel", "INFO"),
        ),
        env=env,
        cwd=ROOT,
        log=logs / f"{name}.log",
        stop_timeout_s=stop_timeout_s,
    )


def _get(listener: socket.socket, path: str) -> int:
    """Return the status of a request to our own listener, 0 for no answer."""
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(reachable, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()

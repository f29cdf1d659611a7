"""Starting the project's servers for a test: real processes on loopback, stopped by their pids."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_S = 30


@dataclass
class Server:
    """A running server. ``log`` holds what it printed."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment(**settings: str) -> dict[str, str]:
    path = f"{ROOT}:{ROOT / 'platform'}"
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    env: Mapping[str, str],
    folder: Path,
    *,
    ready: str,
    start_s: float = START_S,
) -> Iterator[Server]:
    """Start a command and wait until ``ready`` answers 200; stop it at the end."""
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=dict(env), stdout=output, stderr=output)
    server = Server(port, process, log)
    try:
        _wait_until_ready(server, ready, start_s)
        yield server
    finally:
        server.stop()


def _wait_until_ready(server: Server, path: str, start_s: float) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended: {server.log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(server.url + path, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"the server is not ready: {server.log.read_text()[-2000:]}")


# The machines of CI stall for longer than a process should; shedding has tests of its own.
UNHURRIED_MS = "60000"


@contextmanager
def running_api(
    database_url: str,
    redis_url: str,
    folder: Path,
    *,
    port: int | None = None,
    server: str = "uvicorn",
    **settings: str,
) -> Iterator[Server]:
    """Start one api process on uvicorn, or on daphne."""
    port = port or free_port()
    env = environment(
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        DATA_DIR=str(folder),
        SERVE="api",
        **{"SHED_LAG_MS": UNHURRIED_MS, **settings},
    )
    if server == "uvicorn":
        command = [sys.executable, "-m", "config.server", "--port", str(port), "--graceful", "20"]
    else:
        command = [sys.executable, "-m", server, "-b", "127.0.0.1", "-p", str(port)]
        command.append("config.asgi:application")
    with running(command, port, env, folder, ready="/readyz") as started:
        yield started


@contextmanager
def running_upstream(folder: Path) -> Iterator[Server]:
    """Start the scripted upstream."""
    port = free_port()
    command = [sys.executable, "-m", "tests.fakes.upstream", str(port)]
    with running(command, port, environment(), folder, ready="/transcript") as started:
        yield started

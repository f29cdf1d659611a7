"""What the tests of the stack ask of this machine: processes, servers, patience."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import redis

from stack.services import Services

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = ROOT / "platform"
Starter = Callable[..., Services]


def ask(services: Services, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def redis_of(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.redis_url, socket_timeout=5)


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def processes_on(folder: Path) -> list[psutil.Process]:
    """Everything that lives in the folder or names it on its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            here = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(folder) in each for each in here):
            found.append(process)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port

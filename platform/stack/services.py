"""The two servers Tollgate stands on: those named by URL, else embedded ones, of one data folder.

1. ``start_services`` locks the folder, starts what is not given by URL and waits until both answer.
2. ``postgres`` and ``redis`` are ``Child`` handles (``pid``, ``kill``, ``freeze``, ``thaw``); after
   a crash ``restart_postgres`` and ``restart_redis`` bring the server back on the same socket.
3. ``stop`` ends Redis, then PostgreSQL, and lets the folder go. If this process dies first, the
   kernel ends both.

The tests use the same launcher on a temporary folder with ``durable=False``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .child import Child
from .folder import DataFolder, lock_data_folder, open_data_folder
from .identity import Way
from .postgres import embedded_postgres, postgres_url
from .valkey import embedded_redis, redis_url


@dataclass(slots=True)
class Services:
    """``embedded_*`` is None for a server that was given by URL: it is not ours to stop."""

    folder: DataFolder
    database_url: str
    redis_url: str
    embedded_postgres: Child | None
    embedded_redis: Child | None
    _lock: TextIO

    @property
    def postgres(self) -> Child:
        assert self.embedded_postgres is not None, "PostgreSQL is external: DATABASE_URL was given"
        return self.embedded_postgres

    @property
    def redis(self) -> Child:
        assert self.embedded_redis is not None, "Redis is external: REDIS_URL was given"
        return self.embedded_redis

    def restart_postgres(self, timeout_s: float = 30.0) -> None:
        """Stop it if it runs, start it again on the same data and socket, wait until it answers."""
        _restart(self.postgres, timeout_s)

    def restart_redis(self, timeout_s: float = 30.0) -> None:
        _restart(self.redis, timeout_s)

    def embedded(self) -> list[Child]:
        """Return the servers that are ours to keep alive and to stop, in the order of stopping."""
        both = (self.embedded_redis, self.embedded_postgres)
        return [child for child in both if child is not None]

    def stop(self) -> None:
        for child in self.embedded():
            child.stop()
        self._lock.close()


def start_services(
    folder: Path,
    *,
    durable: bool = True,
    database_url: str = "",
    redis_url: str = "",
    way: Way | None = None,
) -> Services:
    """Start what no URL names, in ``folder`` (made if missing), and wait until it answers.

    Call it, and every restart, from the main thread. ``durable=False`` is for tests: no fsync, and
    a Redis without a disk. ``way`` forces how PostgreSQL avoids root.
    Raises: StackError when the folder is in use, a program is missing, or a server does not start.
    """
    data = open_data_folder(folder)
    lock = lock_data_folder(data)
    services = Services(data, database_url, redis_url, None, None, lock)
    try:
        _start_missing(services, durable=durable, way=way)
    except BaseException:
        services.stop()
        raise
    return services


def _start_missing(services: Services, *, durable: bool, way: Way | None) -> None:
    """Start both before waiting for either."""
    folder = services.folder
    if not services.redis_url:
        services.redis_url = redis_url(folder)
        services.embedded_redis = embedded_redis(folder, durable=durable)
        services.redis.spawn()
    if not services.database_url:
        services.database_url = postgres_url(folder)
        services.embedded_postgres = embedded_postgres(folder, durable=durable, way=way)
        services.postgres.spawn()
    for child in services.embedded():
        child.wait_ready()


def _restart(child: Child, timeout_s: float) -> None:
    child.stop()
    child.start(timeout_s)

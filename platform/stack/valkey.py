"""An embedded Valkey (or Redis) on a unix socket.

Durable, it appends every command to a file, synced each second: a killed server comes back with
what it had. For tests it keeps nothing on disk and comes back empty.
"""

import socket
from pathlib import Path
from urllib.parse import quote

from .binaries import find_redis_server
from .child import Child, Command
from .folder import DataFolder

PING_TIMEOUT_S = 1.0
PONG = b"+PONG\r\n"


def redis_url(folder: DataFolder) -> str:
    return f"unix://{quote(str(_socket_path(folder)))}?db=0"


def embedded_redis(folder: DataFolder, *, durable: bool) -> Child:
    """Return the server, not yet started.

    Raises: StackError when there is neither Valkey nor Redis.
    """
    data, path = folder.root / "redis", _socket_path(folder)
    data.mkdir(mode=0o700, exist_ok=True)
    append = ("--appendonly", "yes", "--appendfsync", "everysec")
    command = Command(
        name="redis",
        argv=(
            str(find_redis_server()),
            *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--dir", str(data), "--save", "", "--daemonize", "no"),
            *(append if durable else ("--appendonly", "no")),
        ),
        log=folder.logs / "redis.log",
        stop_timeout_s=10.0,
    )
    return Child(command, is_ready=lambda _: _answers(path))


def _socket_path(folder: DataFolder) -> Path:
    return folder.sockets / "redis.sock"


def _answers(path: Path) -> bool:
    """Send PING. While the append-only file is read the answer is -LOADING: not ready yet."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(len(PONG)) == PONG
        except OSError:
            return False

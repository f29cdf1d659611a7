"""An upstream that means harm: a test writes what it sends, byte by byte."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

Attack = Callable[[], Iterator[bytes]]
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


class HostileUpstream:
    """Answers each request by the attack that its field ``mock``, its ``user`` or its model names.

    Counts connections, and what was sent by each attack.
    """

    def __init__(self, attacks: dict[str, Attack]) -> None:
        self.connections = 0
        self.sent_bytes: dict[str, int] = {}
        self._attacks = attacks
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = _read_request(connection)
            named = request.get("mock", {}).get("attack") or request.get("user")
            name = named if named in self._attacks else request["model"]
            self.sent_bytes[name] = 0
            for data in self._attacks[name]():
                connection.sendall(data)
                self.sent_bytes[name] += len(data)


def _read_request(connection: socket.socket) -> Any:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return json.loads(body)

"""A name server on a real socket of loopback; it says what a test wrote down.

A name that nobody wrote down does not exist; one without an address in ``names`` is not answered.
"""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from socketserver import BaseRequestHandler, ThreadingUDPServer

A, AAAA = 1, 28
NO_SUCH_NAME = 3


@dataclass
class NameServer:
    """``names`` has the addresses of each name; ``asked`` notes every question's name."""

    port: int
    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, query: bytes) -> bytes | None:
        name, end = _read_name(query)
        (kind,) = struct.unpack_from("!H", query, end)
        self.asked.append(name)
        known = self.names.get(name)
        if known == []:
            return None
        records = [_write(address, kind) for address in known or []]
        found = [record for record in records if record]
        code = 0 if known else NO_SUCH_NAME
        head = struct.pack("!2sHHHHH", query[:2], 0x8180 | code, 1, len(found), 0, 0)
        return head + query[12 : end + 4] + b"".join(found)


@contextmanager
def running_name_server() -> Iterator[NameServer]:
    """Answer on a free port of loopback until the end."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            query, socket = self.request
            answer = name_server.answer(query)
            if answer is not None:
                socket.sendto(answer, self.client_address)

    with ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        name_server = NameServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield name_server
        finally:
            server.shutdown()
            thread.join()


def _read_name(query: bytes) -> tuple[str, int]:
    """Return the name that is asked for and where it ends."""
    labels, place = [], 12
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode().lower())
        place += 1 + length
    return ".".join(labels), place + 1


def _write(text: str, kind: int) -> bytes:
    """Return an address's record, nothing where another kind was asked for."""
    address = ip_address(text)
    own = A if address.version == 4 else AAAA
    if own != kind:
        return b""
    return struct.pack("!HHHIH", 0xC00C, own, 1, 60, len(address.packed)) + address.packed

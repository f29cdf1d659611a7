"""The caller's connection, as far as the server lets it be reached.

A caller who does not read fills the socket's buffer, then the server's, and then holds up ``send``.
The kernel ends such a connection by itself when told to (TCP_USER_TIMEOUT covers bytes that are not
acknowledged and bytes that a closed window keeps back, so a dead network too); the server then
reports that the caller has left, and the call is settled like any other that was left.

Only uvicorn, which serves the data plane, keeps its transport where it can be found.
"""

import socket
from typing import Any
from weakref import WeakSet

# Left alone, the kernel lets it grow to some 4 MB a caller: that is billed and may never be read.
SEND_BUFFER_BYTES = 64 * 1024
_bounded: WeakSet[Any] = WeakSet()


def bound_connection(send: Any, *, unread_s: int) -> None:
    """End this caller's connection when nothing is taken from it for ``unread_s``.

    Said once a connection: its later calls find it bounded.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None or transport in _bounded:
        return
    _bounded.add(transport)
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_s * 1000)

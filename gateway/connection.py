"""The caller's connection, as far as the server lets it be reached.

A caller who does not read fills the socket's buffer, then the server's, and then holds up ``send``.
The kernel ends such a connection by itself when told to (TCP_USER_TIMEOUT covers bytes that are not
acknowledged and bytes that a closed window keeps back, so a dead network too); the server then
reports that the caller has left, and the call is settled like any other that was left.
"""

import asyncio
import socket

# Left alone, the kernel lets it grow to some 4 MB a caller: that is billed and may never be read.
SEND_BUFFER_BYTES = 64 * 1024


def bound_connection(transport: asyncio.BaseTransport, *, unread_s: int) -> None:
    """End this caller's connection when nothing is taken from it for ``unread_s``."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_s * 1000)

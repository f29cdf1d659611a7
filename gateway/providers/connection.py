"""A connection to a provider: one request and its answer at a time, parsed by llhttp.

aiohttp opens connections, with names, addresses and TLS, and keeps them for later calls. What it
makes around an exchange on one (a request, a response, a reader, with their tasks, timers and
tables) took a third of what a plain call cost and a quarter of what an open stream took in memory.
So its connector makes one of these for each socket, in the place of its own protocol:

1. ``ask`` writes a request. ``has_head`` tells when the head of its answer is there.
2. ``take`` returns what has come of the body, empty at its end; ``take_whole`` all of it where the
   end has come; ``arrival`` is what to await while there is nothing. Who does not take holds the
   provider up: beyond 64 KiB nothing more is read.
3. A whole answer leaves the connection fit for the next one, unless a side said otherwise. Bytes
   that nobody asked for make it unfit at once: they would be taken for the answer of another call.
"""

import asyncio

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from kernel.deadlines import ring_in
from kernel.errors import TollgateError, UpstreamError, UpstreamTimeoutError

# The most that may come without a byte of body in it: a head, trailers.
MOST_HEAD_BYTES = 64 * 1024
HIGH_BYTES = 64 * 1024
LOW_BYTES = 32 * 1024
# What is asked of an answer's head, beside its status; the rest is forgotten as it is read.
KEPT_HEADERS = frozenset({b"content-encoding", b"retry-after"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_OK = 200


class ProviderConnection(asyncio.Protocol):
    """One socket to a provider. Of the attributes, aiohttp's connector uses the first three."""

    __slots__ = (
        "_bare_bytes",
        "_body",
        "_body_bytes",
        "_closed",
        "_fault",
        "_is_asked",
        "_is_framed",
        "_is_paused",
        "_is_whole",
        "_loop",
        "_parser",
        "_waiter",
        "has_head",
        "headers",
        "should_close",
        "status",
        "transport",
    )

    status: int
    headers: dict[bytes, bytes]
    has_head: bool
    _is_framed: bool
    _is_whole: bool
    _is_paused: bool
    _bare_bytes: int
    _body: list[bytes]
    _body_bytes: int
    _fault: TollgateError | None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport | None = None
        self.should_close = False
        self._closed: asyncio.Future[None] | None = None
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._parser = HttpResponseParser(self)
        # what servers get away with at aiohttp and browsers
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._is_asked = False
        self._forget()

    @property
    def closed(self) -> asyncio.Future[None] | None:
        """What is done once the socket is closed; None where it is."""
        if self._closed is None and self.transport is not None:
            self._closed = self._loop.create_future()
        return self._closed

    def is_connected(self) -> bool:
        """Tell whether a kept connection may be asked again."""
        transport = self.transport
        return transport is not None and not transport.is_closing() and not self.should_close

    def close(self) -> None:
        self.should_close = True
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        self.should_close = True
        if self.transport is not None:
            self.transport.abort()

    def ask(self, head: bytes, body: bytes) -> None:
        """Write a request; the answer before has been taken whole."""
        assert not self._is_asked or self._is_whole, "one exchange at a time"
        self._forget()
        self._is_asked = True
        if self.transport is None:
            self._fail(UpstreamError("The model's provider cannot be reached."))
        else:
            self.transport.writelines((head, body))

    def arrival(self, timeout_s: float | None = None) -> "asyncio.Future[None]":
        """Return what is done with the next bytes, the end, or a fault; one at a time waits."""
        waiter = self._waiter = self._loop.create_future()
        if timeout_s is not None:
            alarm = ring_in(timeout_s, self._time_out)
            waiter.add_done_callback(lambda _: alarm.cancel())
        return waiter

    def check_head(self) -> bool:
        """Tell whether the head of the answer is there.

        Raises:
            TollgateError: when it will never be.

        """
        if not self.has_head and self._fault is not None:
            raise self._fault
        return self.has_head

    def take(self, most: int) -> bytes | None:
        """Return the next bytes of the body, empty at its end, None where none have come yet.

        Raises:
            TollgateError: where the answer breaks off.

        """
        pieces = self._body
        if not pieces:
            if self._is_whole:
                return b""
            if self._fault is not None:
                raise self._fault
            return None
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if len(piece) > most:
            pieces.append(piece[most:])
            piece = piece[:most]
        self._note_taken(piece)
        return piece

    def take_whole(self) -> bytes | None:
        """Return the rest of the body, where its end is here."""
        if not self._is_whole:
            return None
        body = b"".join(self._body)
        self._body.clear()
        self._note_taken(body)
        return body

    def _note_taken(self, piece: bytes) -> None:
        self._body_bytes -= len(piece)
        if self._is_paused and self._body_bytes < LOW_BYTES:
            self._is_paused = False
            if self.transport is not None:
                self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a stream's transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.should_close = True
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if exc is None and self.has_head and not self._is_framed:
            self._is_whole = True  # a body without a length ends with its connection
        if not self._is_whole:
            self._fail(UpstreamError("The model's provider broke off its answer."))
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._is_whole or not self._is_asked:
            self.close()
            return
        self._bare_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.close()  # what came behind a whole answer takes nothing from it
            if not self._is_whole:
                self._fail(UpstreamError("The model's provider does not speak HTTP."))
        if self._bare_bytes > MOST_HEAD_BYTES and not self._is_whole:
            self.close()
            self._fail(UpstreamError("The model's provider sent too many headers."))
        elif self._body_bytes > HIGH_BYTES and not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def on_message_begin(self) -> None:
        """Hear from the parser that an answer begins: ours, or one too many."""
        if self._is_whole:
            self.should_close = True

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _FRAMING:
            self._is_framed = True
        elif name in KEPT_HEADERS and not self._is_whole:
            self.headers[name] = value

    def on_headers_complete(self) -> None:
        if self._is_whole:
            return
        status = self._parser.get_status_code()
        if status < _OK:  # an answer will follow
            self._is_framed = False
            self.headers.clear()
            return
        self.status = status
        self.has_head = True
        if not self._parser.should_keep_alive():
            self.should_close = True

    def on_body(self, body: bytes) -> None:
        if not self._is_whole:
            self._body.append(body)
            self._body_bytes += len(body)
            self._bare_bytes = 0

    def on_message_complete(self) -> None:
        self._is_whole = self.has_head

    def _forget(self) -> None:
        self.status = 0
        self.headers = {}
        self.has_head = False
        self._is_framed = False
        self._is_whole = False
        self._is_paused = False
        self._bare_bytes = 0
        self._body = []
        self._body_bytes = 0
        self._fault = None

    def _time_out(self) -> None:
        self._fail(UpstreamTimeoutError("The model's provider stopped answering."))

    def _fail(self, fault: TollgateError) -> None:
        self.should_close = True
        self._fault = self._fault or fault
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

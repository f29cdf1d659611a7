"""Request heads, bounded in bytes and in time; uvicorn's parser has no bound of its own.

1. A connection has ``HEAD_TIMEOUT_S`` for its first head, whether it says anything or not; a later
   head has as long from its first byte on. Between two requests uvicorn's keep-alive time counts.
2. Bytes are counted until the parser has made something of them: a head, or a piece of a body.
   More than a head may have is refused with 431, of trailers behind a body the connection ends.
3. Who is refused may finish speaking for a moment, unheard: closing on unread bytes would take the
   answer away with them. Nothing is answered in the middle of another answer.

A call that comes in one piece pays two additions for this, and no timer.
"""

import asyncio
from typing import Any

from django.conf import settings

from gateway.connection import bound_connection
from gateway.dialects import anthropic, openai
from gateway.exchanges import SlimHttpProtocol
from kernel.deadlines import Alarm, ring_in
from kernel.errors import LargeHeadersError
from kernel.ids import new_request_id

MOST_HEAD_BYTES = 16 * 1024
# Queries may name a hundred models; they are no headers.
MOST_URL_BYTES = 64 * 1024
# what stands around a header's name and value
_SEPARATORS = len(b": \r\n")
LINGER_S = 2.0


class _TooLargeError(Exception):
    """Makes the parser stop at a head that is whole and too large."""


class BoundedHttpProtocol(SlimHttpProtocol):
    """uvicorn's protocol on httptools, given to it by ``config.server``."""

    __slots__ = (
        "_alarm",
        "_is_refused",
        "_is_too_large",
        "_most_head_bytes",
        "_pending_bytes",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # what came since the parser last made something of it; the same before the latest piece
        # was parsed, which no head in it can exceed
        self._pending_bytes = 0
        self._most_head_bytes = 0
        self._is_too_large = False
        self._is_refused = False
        self._alarm: Alarm | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        bound_connection(transport, unread_s=settings.UNREAD_S)
        self._alarm = ring_in(settings.HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_alarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._pending_bytes += len(data)
        self._most_head_bytes = self._pending_bytes
        super().data_received(data)
        if self._pending_bytes:
            self._await_more()
        elif self._alarm is not None:
            self._stop_alarm()

    def on_headers_complete(self) -> None:
        if self._most_head_bytes > MOST_HEAD_BYTES and self._is_head_too_large():
            self._is_too_large = True
            raise _TooLargeError
        self._pending_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what could not be parsed, or what ``on_headers_complete`` would not."""
        self._is_refused = True
        if self._is_answering():
            self.transport.close()
        elif self._is_too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _await_more(self) -> None:
        """Bound what has begun and is not whole: a head, mostly."""
        if self._is_refused:
            return
        if self._pending_bytes > MOST_HEAD_BYTES + min(len(self.url), MOST_URL_BYTES):
            self._is_too_large = True
            self.send_400_response("")
        elif self._alarm is None and not self._is_answering():
            self._alarm = ring_in(settings.HEAD_TIMEOUT_S, self.transport.close)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_head_too_large(self) -> bool:
        headers = sum(len(name) + len(value) + _SEPARATORS for name, value in self.headers)
        return headers > MOST_HEAD_BYTES or len(self.url) > MOST_URL_BYTES

    def _refuse_head(self) -> None:
        error = LargeHeadersError(
            f"The request's headers are larger than {MOST_HEAD_BYTES} bytes, "
            f"or its address is longer than {MOST_URL_BYTES}."
        )
        dialect = anthropic.DIALECT if self.url.startswith(b"/anthropic/") else openai.DIALECT
        request_id = new_request_id()
        body = dialect.render_error(error, request_id)
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
            f"request-id: {request_id}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self._stop_alarm()
        self._alarm = ring_in(LINGER_S, self.transport.close)

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

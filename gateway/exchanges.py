"""uvicorn's protocol and its exchanges, in less memory and fewer writes.

1. Thousands of connections are open at once. What uvicorn keeps for each is kept here in half the
   memory: in slots, with flags for events and no idle queue.
2. A write to a socket costs as much as fifty calls of functions, and uvicorn makes one for an
   answer's head and one for each piece of its body. Here a head leaves with the first piece, as
   ASGI has it.
3. Between two requests a connection waits for its end by one alarm that is set now and then, not
   by a timer that is set and cancelled for each.
4. A message ``tollgate.departure`` names whom to call when the caller leaves before the answer is
   complete (an extension of ASGI's). So one task serves a call, and none waits for its caller.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from httptools import parse_url
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.flags import Flag
from kernel.deadlines import Alarm, ring_in

DEPARTURE = "tollgate.departure"
_EXTENSIONS: dict[str, dict[object, object]] = {DEPARTURE: {}}
_FRAMING_LENGTHS = frozenset(map(len, ("content-length", "transfer-encoding", "connection")))
_WITHOUT_BODY = frozenset({204, 304})
# Beyond this, a copy costs more than a second write.
MOST_JOINED_BYTES = 64 * 1024
Headers = Iterable[tuple[bytes, bytes]]


class Backlog(list[Any]):
    """Requests that came before the answer to the one before: none, nearly always."""

    __slots__ = ()

    def appendleft(self, request: Any) -> None:
        self.insert(0, request)


class SlimFlowControl(FlowControl):
    """uvicorn's flow control with a flag for its event."""

    __slots__ = ("_is_writable_event", "_transport", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_writable_event = Flag(is_set=True)  # type: ignore[assignment] # all it is asked for


class Exchange(RequestResponseCycle):
    """One exchange; several follow each other on a connection."""

    __slots__ = (
        "_head",
        "_tell_departure",
        # uvicorn's own
        "access_log",
        "access_logger",
        "body",
        "chunked_encoding",
        "default_headers",
        "disconnected",
        "expected_content_length",
        "flow",
        "keep_alive",
        "logger",
        "message_event",
        "more_body",
        "on_response",
        "response_complete",
        "response_started",
        "scope",
        "transport",
        "waiting_for_100_continue",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = b""
        self._tell_departure: Callable[[], object] | None = None

    async def send(self, message: Mapping[str, Any]) -> None:
        """Take an ASGI message; waits while the caller reads too slowly.

        Raises:
            RuntimeError: for a message out of turn, a header that is none, or a body of another
                length than was said.

        """
        kind = message["type"]
        if kind == DEPARTURE:
            self._hear_departure(message["tell"])
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), is_last=not message.get("more_body", False))
        elif kind == "http.response.start" and not self.response_started:
            self._begin(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"{kind} out of turn")

    def _hear_departure(self, tell: Callable[[], object]) -> None:
        """Call back when the caller leaves, which is noticed by reading."""
        self.flow.resume_reading()
        self._tell_departure = tell
        if self.disconnected:
            self.depart()

    def depart(self) -> None:
        """Take notice that the caller has left."""
        tell, self._tell_departure = self._tell_departure, None
        if tell is not None:
            tell()

    def _begin(self, status: int, headers: Headers) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            if len(name) in _FRAMING_LENGTHS and self._frames(name.lower(), value):
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        is_bodiless = status in _WITHOUT_BODY or self.scope["method"] == "HEAD"
        if self.chunked_encoding is None and not is_bodiless:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
            raise RuntimeError("a header with a line break or a zero byte in it")
        self._head = head + b"\r\n"

    def _frames(self, name: bytes, value: bytes) -> bool:
        """Take note of how the answer is framed; True for what is said at the end."""
        if name == b"connection":
            self.keep_alive = self.keep_alive and b"close" not in value.lower()
            return True
        if name == b"transfer-encoding":
            self.chunked_encoding = value.lower() == b"chunked"
        elif name == b"content-length" and self.chunked_encoding is None:
            self.expected_content_length = int(value)
            self.chunked_encoding = False
        return False

    def _write(self, body: bytes, *, is_last: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            end = b"0\r\n\r\n" if is_last else b""
            body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        else:
            left = self.expected_content_length = self.expected_content_length - len(body)
            if left < 0 or (left and is_last):
                raise RuntimeError("a body of another length than was said")
        head, self._head = self._head, b""
        if len(body) > MOST_JOINED_BYTES:
            self.transport.writelines((head, body))
        elif head or body:
            self.transport.write(head + body)
        if is_last:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self._tell_departure = None
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class SlimHttpProtocol(HttpToolsProtocol):
    """One connection of a caller's, on httptools."""

    __slots__ = (
        "_alarm_of_idleness",
        "_idle_since",
        "access_log",
        "access_logger",
        "app",
        "app_state",
        "asgi_version",
        "client",
        "config",
        "connections",
        "cycle",
        "expect_100_continue",
        "flow",
        "headers",
        "limit_concurrency",
        "logger",
        "loop",
        "parser",
        "pipeline",
        "root_path",
        "scheme",
        "scope",
        "server",
        "server_state",
        "tasks",
        "timeout_keep_alive",
        "timeout_keep_alive_task",
        "transport",
        "url",
        "ws_protocol_class",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle_since = 0.0
        self._alarm_of_idleness: Alarm | None = None
        self.pipeline = Backlog()  # type: ignore[assignment] # all that is asked of its queue
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self.flow = SlimFlowControl(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._alarm_of_idleness is not None:
            self._alarm_of_idleness.cancel()
        super().connection_lost(exc)
        if isinstance(self.cycle, Exchange):
            self.cycle.depart()

    def on_headers_complete(self) -> None:
        parser, scope, before = self.parser, self.scope, self.cycle
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version = parser.get_http_version()
        url = parse_url(self.url)
        scope["raw_path"] = url.path
        path = url.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        scope["extensions"] = _EXTENSIONS
        self.cycle = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=Flag(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._alarm_of_idleness is None:
            self._alarm_of_idleness = ring_in(self.timeout_keep_alive, self._end_idleness)

    def _unset_keepalive_if_required(self) -> None:
        """Take notice that the caller speaks."""
        self._idle_since = 0.0

    def _end_idleness(self) -> None:
        """Close a connection that nobody has used for long; one alarm goes a long way."""
        self._alarm_of_idleness = None
        if not self._idle_since:
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._alarm_of_idleness = ring_in(left_s, self._end_idleness)
        else:
            self.timeout_keep_alive_handler()

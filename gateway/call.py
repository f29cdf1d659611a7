"""One HTTP call as the pipeline sees it: headers and body in, frames out."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from gateway.dialects.base import Dialect
from gateway.idempotency import MOST_BYTES as MOST_KEPT_BYTES
from kernel import clock
from kernel.errors import TollgateError
from kernel.ids import new_request_id
from kernel.loops import running_loop

Send = Callable[[Any], Awaitable[None]]
JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
HELD_UP_S = 0.1
STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Call:
    """What arrived and how to answer it. Frames go out only after ``start_stream``.

    ``address`` is the caller's, as a proxy that is believed tells it; empty where it is not known.
    ``notes`` are headers that say how it was answered; ``recording`` is what of a stream has gone
    out, for whoever set it to keep that.

    For the watch: ``sent_at`` is when something last went out, ``is_sending`` whether the caller is
    waited for just now, ``held_up_until`` when that last took long. Monotonic seconds.
    """

    __slots__ = (
        "_send",
        "address",
        "body",
        "dialect",
        "headers",
        "held_up_until",
        "is_over",
        "is_sending",
        "limit_headers",
        "notes",
        "recording",
        "request_id",
        "sent_at",
        "started",
        "started_at",
        "status",
    )

    def __init__(
        self, headers: Mapping[bytes, bytes], body: bytes, dialect: Dialect, send: Send
    ) -> None:
        self.request_id = new_request_id()
        self.headers = headers
        self.address = ""
        self.body = body
        self.dialect = dialect
        self.limit_headers: list[tuple[bytes, bytes]] = []
        self.notes: list[tuple[bytes, bytes]] = []
        self.started = False
        self.started_at = clock.monotonic()
        self.status = 0
        self.recording: bytearray | None = None
        self.is_over = False
        self.is_sending = False
        self.sent_at = 0.0
        self.held_up_until = 0.0
        self._send = send

    def forget_request(self) -> None:
        """Let go of what arrived: an answer may take minutes, and is written without it."""
        self.headers = {}
        self.body = b""

    async def start_stream(self) -> None:
        await self._start(200, STREAM)

    def send(self, frames: bytes) -> Awaitable[None]:
        """Send frames of a started stream; waits while the caller reads too slowly."""
        if self.recording is not None:
            self._record(frames)
        return self._deliver({"type": "http.response.body", "body": frames, "more_body": True})

    def _record(self, frames: bytes) -> None:
        """Keep what goes out, as long as all of it can be stored in the end."""
        assert self.recording is not None
        self.recording += frames
        if len(self.recording) > MOST_KEPT_BYTES:
            self.recording = None

    async def keep_alive(self) -> None:
        """Show a stream's caller that the answer is still awaited; begins the stream if need be."""
        if self.is_over:
            return
        if not self.started:
            await self.start_stream()
        frame = self.dialect.keep_alive
        await self._deliver({"type": "http.response.body", "body": frame, "more_body": True})

    def finish(self, frames: bytes = b"") -> Awaitable[None]:
        """Send the last frames and end the answer."""
        self.is_over = True
        return self._deliver({"type": "http.response.body", "body": frames, "more_body": False})

    async def replay(self, content: bytes, *, is_stream: bool) -> None:
        """Send a stored answer again."""
        again = (b"idempotent-replayed", b"true")
        if not is_stream:
            await self.answer(content, headers=[again])
            return
        await self._start(200, (*STREAM, again))
        await self.finish(content)

    async def answer(
        self, body: bytes, *, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Send a whole JSON answer."""
        await self._start(status, (*JSON, (b"content-length", b"%d" % len(body)), *headers))
        await self.finish(body)

    async def refuse(self, error: TollgateError) -> None:
        """Send an error as the whole answer, in the caller's dialect."""
        headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
        await self.answer(
            self.dialect.render_error(error, self.request_id),
            status=self.dialect.error_status(error),
            headers=headers,
        )

    async def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.started = True
        self.status = status
        request_id = self.request_id.encode()
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    *headers,
                    (b"x-request-id", request_id),
                    (b"request-id", request_id),
                    *self.limit_headers,
                    *self.notes,
                ],
            }
        )
        self.limit_headers = []

    async def _deliver(self, message: Mapping[str, Any]) -> None:
        began_at = clock.monotonic()
        self.is_sending = True
        await self._send(message)
        self.is_sending = False
        self.sent_at = clock.monotonic()
        if self.sent_at - began_at > HELD_UP_S:
            self.held_up_until = self.sent_at


class Registry:
    """Knows every serving task, so that none is lost when its connection goes.

    1. ``serve`` starts a task and keeps it; ``add`` keeps one that is there until ``discard``.
    2. The door cancels it when the caller leaves, and lets go; the task cleans up here.
    3. ``drain`` at shutdown waits for all, cancels what is left, and waits for those too.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def serve(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = running_loop().create_task(work)
        self.add(task)
        task.add_done_callback(self.discard)
        return task

    def add(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)

    def discard(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)

    async def drain(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

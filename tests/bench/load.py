"""A load generator on raw sockets: light enough not to be what is measured.

In a closed loop each caller keeps one connection and sends its next request when the last answer is
complete. In an open loop requests start at their times, whatever the answers do, and a latency
counts from the time a request should have started. It knows as much HTTP as the servers measured
here speak: content-length and chunked bodies.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class LoadResult:
    """``latencies_s`` are of whole answers, sorted; ``failures`` counts every status but 200.

    ``why`` is how the first of them began. ``due_at`` is when each request of an open loop should
    have started, on the machine's monotonic clock.
    """

    seconds: float
    latencies_s: Sequence[float]
    failures: int
    why: str = ""
    due_at: Sequence[float] = ()

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        if not self.latencies_s:
            return float("nan")
        place = min(len(self.latencies_s) - 1, int(len(self.latencies_s) * percent / 100))
        return self.latencies_s[place] * 1000


class _Caller(asyncio.Protocol):
    """One connection's loop: write, wait for the whole answer, again, until the deadline.

    With ``idle`` it goes there after each answer instead and waits to be sent again.
    """

    def __init__(
        self, request: bytes, deadline: float, idle: "deque[_Caller] | None" = None
    ) -> None:
        self.idle = idle
        self.request = request
        self.deadline = deadline
        self.latencies: list[float] = []
        self.failures = 0
        self.why = ""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._ends_with: bytes | None = None
        self._length = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.idle is None:
            self.send(perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.failures += 1
            self.why = self.why or "the connection was closed"
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length < 0 and self._ends_with is None and not self._read_head():
            return
        if self._ends_with is not None:
            complete = self._buffer.endswith(self._ends_with)
        else:
            complete = len(self._buffer) >= self._length
        if complete:
            self._finish()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            self.failures += 1
            self.why = self._buffer[:1000].decode(errors="replace")
        if b"transfer-encoding: chunked" in head:
            self._ends_with = b"0\r\n\r\n"
        else:
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            self._length = end + 4 + length
        return True

    def _finish(self) -> None:
        now = perf_counter()
        self.latencies.append(now - self._sent_at)
        if self.idle is not None:
            self.idle.append(self)
            return
        if now >= self.deadline:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.send(now)

    def send(self, counted_from: float) -> None:
        self._buffer.clear()
        self._ends_with = None
        self._length = -1
        self._sent_at = counted_from
        self.transport.write(self.request)  # type: ignore[attr-defined] # a stream's transport


def post_request(
    url: str, key: str, body: bytes, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Return the bytes of a POST with a key."""
    parts = urlsplit(url)
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"{more}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def drive(
    url: str, request: bytes, *, callers: int, seconds: float, apart_s: float = 0
) -> LoadResult:
    """Run ``callers`` closed loops for ``seconds``, begun ``apart_s``; return what they saw."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    started = perf_counter()
    deadline = started + seconds
    running = []
    for _ in range(callers):
        _, caller = await loop.create_connection(
            lambda: _Caller(request, deadline), parts.hostname or "", parts.port or 80
        )
        running.append(caller)
        if apart_s:
            await asyncio.sleep(apart_s)
    async with asyncio.timeout(seconds + 60):
        await asyncio.gather(*(caller.done for caller in running))
    latencies = sorted(latency for caller in running for latency in caller.latencies)
    failures = sum(caller.failures for caller in running)
    why = next((caller.why for caller in running if caller.why), "")
    return LoadResult(perf_counter() - started, latencies, failures, why)


async def drive_open(
    url: str,
    make_request: Callable[[int], bytes],
    *,
    per_second: int,
    seconds: float,
    most_connections: int = 512,
) -> LoadResult:
    """Start ``per_second`` requests a second at even distances, on connections opened before."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    idle: deque[_Caller] = deque()
    callers = []
    for _ in range(most_connections):
        _, caller = await loop.create_connection(
            lambda: _Caller(b"", 0.0, idle), parts.hostname or "", parts.port or 80
        )
        callers.append(caller)
    idle.extend(callers)
    started = perf_counter()
    missed = 0
    due_at = [started + number / per_second for number in range(int(per_second * seconds))]
    for number, due in enumerate(due_at):
        if (wait_s := due - perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        if idle:
            caller = idle.popleft()
            caller.request = make_request(number)
            caller.send(due)
        else:
            missed += 1
    ended = perf_counter()
    while len(idle) < len(callers) and perf_counter() < ended + 10:  # noqa: ASYNC110 # its end
        await asyncio.sleep(0.01)
    failures = missed + sum(caller.failures for caller in callers)
    failures += len(callers) - len(idle)
    latencies = sorted(latency for caller in callers for latency in caller.latencies)
    for caller in callers:
        caller.transport.close()
    return LoadResult(ended - started, latencies, failures, due_at=due_at)

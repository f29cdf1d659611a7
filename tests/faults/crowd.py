"""A crowd: many streamed calls at once, each on a connection of its own, counted word by word.

1. ``start`` opens all connections from one event loop in a thread, so that the test can break
   things meanwhile.
2. A caller whose connection is refused, or who hears a status of ``come_again_on``, has not been
   served and comes again; one whose connection breaks later has been, and does not.
3. ``leave`` closes what is still open; ``join`` returns what every caller saw.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.calls import CHAT, WORD

COME_AGAIN_S = 0.3
PATIENCE_S = 60


@dataclass
class Caller:
    """One caller's tale. ``status`` is 0 where no head has come."""

    number: int
    status: int = 0
    request_id: str = ""
    received: bytes = b""
    refusals: int = 0

    @property
    def words(self) -> int:
        return self.received.count(WORD)

    @property
    def is_whole(self) -> bool:
        return b"data: [DONE]" in self.received


class Crowd:
    """``body`` makes the request of a caller's number, one of each; ``ports`` take turns."""

    def __init__(
        self,
        ports: Sequence[int],
        key: str,
        numbers: Iterable[int],
        body: Callable[[int], Mapping[str, Any]],
        *,
        headers: Mapping[str, str] | None = None,
        come_again_on: Collection[int] = (503,),
    ) -> None:
        self.callers = [Caller(number) for number in numbers]
        self._ports = ports
        self._body = body
        self._headers = {"authorization": f"Bearer {key}", **(headers or {})}
        self._come_again_on = come_again_on
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def start(self) -> "Crowd":
        self._thread.start()
        return self

    def leave(self) -> None:
        self._leaving.set()

    def join(self, seconds: float = 90) -> list[Caller]:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"callers still wait after {seconds} s"
        return self.callers

    async def _all(self) -> None:
        coming = [asyncio.ensure_future(self._come(caller)) for caller in self.callers]
        while not (await asyncio.wait(coming, timeout=0.1))[0] >= set(coming):
            if self._leaving.is_set():
                for caller in coming:
                    caller.cancel()
        await asyncio.gather(*coming, return_exceptions=True)

    async def _come(self, caller: Caller) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._call(caller)
            except ConnectionRefusedError:
                caller.status = 503
            except (OSError, TimeoutError):
                return
            if caller.status not in self._come_again_on:
                return
            caller.refusals += 1
            await asyncio.sleep(COME_AGAIN_S)

    async def _call(self, caller: Caller) -> None:
        caller.status, caller.request_id, caller.received = 0, "", b""
        port = self._ports[caller.number % len(self._ports)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(self._request(caller.number))
            while data := await reader.read(65536):
                caller.received += data
                if not caller.status and b"\r\n\r\n" in caller.received:
                    self._read_head(caller)
                if caller.status and _is_over(caller):
                    return
        finally:
            writer.close()

    def _request(self, number: int) -> bytes:
        payload = json.dumps(self._body(number)).encode()
        headers = {"content-type": "application/json", **self._headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}"
        return f"{head}content-length: {len(payload)}\r\n\r\n".encode() + payload

    def _read_head(self, caller: Caller) -> None:
        head = caller.received.partition(b"\r\n\r\n")[0].decode("latin-1")
        caller.status = int(head.split(" ", 2)[1])
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            if name.lower() == "x-request-id":
                caller.request_id = value


def _is_over(caller: Caller) -> bool:
    """Tell whether an answer's last bytes are here; ``connection: close`` may come later."""
    if caller.status == 200:
        return caller.received.endswith(b"0\r\n\r\n")
    return False

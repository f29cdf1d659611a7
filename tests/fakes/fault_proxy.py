"""A proxy that misbehaves: between two programs, where ending one of them is not enough.

It passes bytes between sockets (a path for a Unix socket, else a port on loopback) from a thread of
its own. ``mode`` may change while it runs: ``pass``; ``lose_answers`` brings what is asked and
swallows what is answered; ``black_hole`` swallows both; ``slice`` brings every byte by itself.
``delay_s`` is added to each piece. ``cut`` resets all connections.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, Self

Mode = Literal["pass", "lose_answers", "black_hole", "slice"]
Address = str | int
_RESET = struct.pack("ii", 1, 0)


class FaultProxy:
    """Runs from ``with`` to its end."""

    def __init__(self, listen: Address, target: Address) -> None:
        self.mode: Mode = "pass"
        self.delay_s = 0.0
        self.lost_bytes = 0
        self._listen = listen
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Reset every connection, and pass again."""
        self.mode = "pass"
        self._run(self._cut())

    def _run(self, work: Awaitable[None]) -> None:
        async def do() -> None:
            await work

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(10)

    async def _open(self) -> None:
        if isinstance(self._listen, str):
            self._server = await asyncio.start_unix_server(self._serve, self._listen)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._listen)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            peer = writer.get_extra_info("socket")
            with suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, str):
            answers, asks = await asyncio.open_unix_connection(self._target)
        else:
            answers, asks = await asyncio.open_connection("127.0.0.1", self._target)
        both = {writer, asks}
        self._writers |= both
        try:
            await asyncio.gather(
                self._carry(reader, asks, lambda: self.mode == "black_hole"),
                self._carry(answers, writer, lambda: self.mode in {"black_hole", "lose_answers"}),
                return_exceptions=True,
            )
        finally:
            self._writers -= both

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        is_lost: Callable[[], bool],
    ) -> None:
        try:
            while data := await source.read(65536):
                await asyncio.sleep(self.delay_s)
                if is_lost():
                    self.lost_bytes += len(data)
                    continue
                step = 1 if self.mode == "slice" else len(data)
                for start in range(0, len(data), step):
                    sink.write(data[start : start + step])
                    await sink.drain()
                    await asyncio.sleep(0)
        finally:
            sink.close()

"""An upstream of both dialects that writes one chunk at a time to thousands of streams at once.

The upstream's model says how: ``64x10`` is 64 chunks, one each 10 ms. Every chunk is a write of its
own, so that the gateway reads and relays it alone. One ticker serves all streams of one pace.

Run it: ``python -m tests.bench.pacer PORT``.
"""

import asyncio
import json
import sys
from collections import deque
from typing import Any, cast

import uvloop

from tests.fakes.messages import frame as message_frame
from tests.fakes.messages import message
from tests.fakes.upstream import HEAD, WORD, ending, frame, http_chunk

LAST = b"0\r\n\r\n"
Parts = tuple[bytes, bytes, bytes]  # the beginning, one chunk, the end


def openai_parts(model: str, chunks: int) -> Parts:
    begin = http_chunk(frame(model, {"role": "assistant", "content": ""}))
    word = http_chunk(frame(model, {"content": WORD}))
    return HEAD + begin, word, http_chunk(ending(model, chunks, usage=True)) + LAST


def anthropic_parts(model: str, chunks: int) -> Parts:
    block = {"type": "text", "text": ""}
    begin = message_frame(
        "message_start", message=message(model, [], {"input_tokens": 9, "output_tokens": 1})
    ) + message_frame("content_block_start", index=0, content_block=block)
    delta = {"type": "text_delta", "text": WORD}
    word = message_frame("content_block_delta", index=0, delta=delta)
    end = (
        message_frame("content_block_stop", index=0)
        + message_frame(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": chunks},
        )
        + message_frame("message_stop")
    )
    return HEAD + http_chunk(begin), http_chunk(word), http_chunk(end) + LAST


class Pacer:
    """All streams of one pace: each gets a chunk a tick, spread evenly over the tick's length."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.streams: deque[tuple[float, PacedProtocol]] = deque()
        self.task = asyncio.ensure_future(self.run())

    def add(self, stream: "PacedProtocol") -> None:
        self.streams.append((asyncio.get_running_loop().time() + self.interval_s, stream))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self.interval_s, 0.002))
            while self.streams and self.streams[0][0] <= loop.time():
                due, stream = self.streams.popleft()
                if stream.step():
                    self.streams.append((due + self.interval_s, stream))


class PacedProtocol(asyncio.Protocol):
    def __init__(self, pacers: dict[float, Pacer]) -> None:
        self.pacers = pacers
        self.buffer = b""
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.left = 0

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET "):
            self.buffer = b""
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.begin(head, json.loads(rest[:length]))

    def begin(self, head: bytes, request: dict[str, Any]) -> None:
        chunks, milliseconds = (int(part) for part in request["model"].split("x"))
        parts = anthropic_parts if b" /v1/messages " in head else openai_parts
        begin, self.word, self.end = parts(request["model"], chunks)
        self.left = chunks
        self.transport.write(begin)
        interval_s = milliseconds / 1000
        pacer = self.pacers.get(interval_s)
        if pacer is None:
            pacer = self.pacers[interval_s] = Pacer(interval_s)
        pacer.add(self)

    def step(self) -> bool:
        """Write the next chunk; True while there are more."""
        if self.left == 0:
            return False
        self.left -= 1
        self.transport.write(self.word if self.left else self.word + self.end)
        return self.left > 0


async def main(port: int) -> None:
    pacers: dict[float, Pacer] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: PacedProtocol(pacers), "127.0.0.1", port, backlog=8192
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

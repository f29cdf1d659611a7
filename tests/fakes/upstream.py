"""A scripted OpenAI-compatible server with a transcript: the fake at the socket that leaves us.

A request's own field ``mock`` says how to answer, since unknown fields pass through unchanged:
``chunks`` (64), ``delay_ms`` between them (0), ``usage`` (true, false for none, or an object to
report as it is), ``fail_after`` chunks (never), ``stall_after`` chunks (never), ``head_after_ms``
and ``first_after_ms`` (0) for the answer's head and first chunk, ``comments`` (false) each 100 ms
of a stall, ``word`` for a chunk's text (of slow streams), ``status`` (200) and the fields of its
``error``. ``GET /transcript`` tells what was asked, sent, and left early.

Run it: ``python -m tests.fakes.upstream PORT``. It answers fast enough to stand behind a benchmark.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any, cast

import uvloop

WORD = " word"  # one token by our own count
SCRIPT = {
    "chunks": 64,
    "delay_ms": 0,
    "usage": True,
    "status": 200,
    "error": {},
    "fail_after": None,
    "stall_after": None,
    "head_after_ms": 0,
    "first_after_ms": 0,
    "comments": False,
    "word": WORD,
}
SLOW = ("delay_ms", "fail_after", "stall_after", "head_after_ms", "first_after_ms", "word")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Exchange:
    """One request as this side saw it. Times are monotonic seconds."""

    model: str
    max_tokens: int | None
    stream: bool
    chunks_sent: int = 0
    finished: bool = False
    left_at: float | None = None
    last_sent_at: float | None = None
    authorization: str = ""
    user: str = ""
    began_at: float = field(default_factory=monotonic)


@dataclass
class Transcript:
    exchanges: list[Exchange] = field(default_factory=list)
    open_connections: int = 0


class UpstreamProtocol(asyncio.Protocol):
    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.buffer = b""
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.transcript.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.transcript.open_connections -= 1
        if self.exchange is not None and not self.exchange.finished:
            self.exchange.left_at = monotonic()
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = 0
            authorization = ""
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                elif name.lower() == b"authorization":
                    authorization = value.strip().decode()
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer(head, rest[:length], authorization)

    def answer(self, head: bytes, body: bytes, authorization: str) -> None:
        if head.startswith(b"GET /transcript"):
            self.whole(json.dumps([asdict(e) for e in self.transcript.exchanges]).encode())
            return
        request = json.loads(body)
        if head.startswith(b"POST /v1/embeddings"):
            self.embed(request, authorization)
            return
        script: dict[str, Any] = {**SCRIPT, **(request.get("mock") or {})}
        is_slow = any(script[name] != SCRIPT[name] for name in SLOW)
        limit = request.get("max_tokens") or request.get("max_completion_tokens")
        stream = bool(request.get("stream"))
        user = request.get("user") or ""
        self.exchange = Exchange(
            request["model"], limit, stream, authorization=authorization, user=user
        )
        self.transcript.exchanges.append(self.exchange)
        if script["status"] != 200:
            error = {"message": "secret detail of the upstream", **script["error"]}
            self.whole(json.dumps({"error": error}).encode(), script["status"])
        elif not stream and not is_slow:
            self.exchange.finished = True
            self.whole(completion(request["model"], script["chunks"], usage=script["usage"]))
        elif stream and not is_slow:
            self.exchange.finished = True
            self.exchange.chunks_sent = script["chunks"]
            self.transport.write(whole_stream(request["model"], script["chunks"], script["usage"]))
        else:
            self.task = asyncio.ensure_future(self.slowly(request, script))

    def embed(self, request: dict[str, Any], authorization: str) -> None:
        """Answer as scripted: ``vectors`` (true) for every input, ``usage`` (true)."""
        script = {"usage": True, "vectors": True, **(request.get("mock") or {})}
        self.transcript.exchanges.append(
            Exchange(
                request["model"], None, stream=False, finished=True, authorization=authorization
            )
        )
        texts = request["input"]
        if isinstance(texts, str) or isinstance(texts[0], int):
            texts = [texts]  # a list of tokens is one input
        body: dict[str, Any] = {"object": "list", "model": "up-1-of-that-day", "asked": request}
        if script["vectors"]:
            body["data"] = [
                {"object": "embedding", "index": place, "embedding": [0.6, 0.8]}
                for place in range(len(texts))
            ]
        if script["usage"]:
            body["usage"] = {"prompt_tokens": 9 * len(texts), "total_tokens": 9 * len(texts)}
        self.whole(json.dumps(body).encode())

    async def slowly(self, request: dict[str, Any], script: dict[str, Any]) -> None:
        exchange = self.exchange
        assert exchange is not None
        delay_s = script["delay_ms"] / 1000
        await asyncio.sleep(script["head_after_ms"] / 1000)
        if not exchange.stream:
            await asyncio.sleep(delay_s * script["chunks"])
            exchange.finished = True
            self.whole(completion(request["model"], script["chunks"], usage=script["usage"]))
            return
        self.transport.write(HEAD)
        self.transport.write(
            http_chunk(frame(request["model"], {"role": "assistant", "content": ""}))
        )
        await asyncio.sleep(script["first_after_ms"] / 1000)
        for position in range(script["chunks"]):
            if position == script["fail_after"]:
                self.transport.close()
                return
            while position == script["stall_after"]:
                await asyncio.sleep(0.1)
                if script["comments"]:
                    self.transport.write(http_chunk(b": still here\n\n"))
            await asyncio.sleep(delay_s)
            self.transport.write(http_chunk(frame(request["model"], {"content": script["word"]})))
            exchange.chunks_sent += 1
            exchange.last_sent_at = monotonic()
        exchange.finished = True
        self.transport.write(
            http_chunk(ending(request["model"], script["chunks"], script["usage"]))
        )
        self.transport.write(b"0\r\n\r\n")

    def whole(self, body: bytes, status: int = 200) -> None:
        self.transport.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


def frame(model: str, delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": None,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def usage_of(chunks: int, scripted: Any) -> Any:
    if isinstance(scripted, dict):
        return scripted
    return {"prompt_tokens": 9, "completion_tokens": chunks, "total_tokens": chunks + 9}


def ending(model: str, chunks: int, usage: Any) -> bytes:
    body = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [],
        "usage": usage_of(chunks, usage),
    }
    last = b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n" if usage else b""
    return frame(model, {}, "stop") + last + b"data: [DONE]\n\n"


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_whole_streams: dict[tuple[str, int, str], bytes] = {}


def whole_stream(model: str, chunks: int, usage: Any) -> bytes:
    key = (model, chunks, json.dumps(usage))
    if key not in _whole_streams:
        word = http_chunk(frame(model, {"content": WORD}))
        _whole_streams[key] = (
            HEAD
            + http_chunk(frame(model, {"role": "assistant", "content": ""}))
            + word * chunks
            + http_chunk(ending(model, chunks, usage))
            + b"0\r\n\r\n"
        )
    return _whole_streams[key]


def completion(model: str, chunks: int, *, usage: Any) -> bytes:
    message = {"role": "assistant", "content": WORD * chunks, "refusal": None}
    body: dict[str, Any] = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }
    if usage:
        body["usage"] = usage_of(chunks, usage)
    return json.dumps(body, separators=(",", ":")).encode()


async def main(port: int) -> None:
    transcript = Transcript()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: UpstreamProtocol(transcript), "127.0.0.1", port)
    print("ready", flush=True)  # noqa: T201 # the starter waits for it
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

"""Calling a server in tests: plain requests, streams that are left, and waiting with a deadline."""

import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

CHAT = "/v1/chat/completions"
WORD = b'"content":" word"'
HELLO = [{"role": "user", "content": "Hello"}]


def chat_body(model: str = "mock", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **fields}


def post(url: str, key: str, body: Any, *, path: str = CHAT, **headers: str) -> requests.Response:
    """POST a JSON body (or raw bytes) with a key."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(
        url + path,
        data=data,
        headers={"authorization": f"Bearer {key}", "content-type": "application/json", **headers},
        timeout=30,
    )


def frames(text: str) -> list[Any]:
    """Return a stream's frames: parsed JSON, or the word after ``data: ``."""
    found: list[Any] = []
    for frame in text.split("\n\n"):
        if frame.startswith("data: "):
            body = frame.removeprefix("data: ")
            found.append(body if body == "[DONE]" else json.loads(body))
    return found


def text_of(chunks: list[Any]) -> str:
    """Join the content of a parsed stream's first choice."""
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        if isinstance(chunk, dict)
        for choice in chunk.get("choices", [])
    )


class RawStream:
    """A streamed call on a bare socket, which can be left at any byte."""

    def __init__(
        self,
        port: int,
        key: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        *,
        path: str = CHAT,
    ) -> None:
        payload = json.dumps(body).encode()
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\n{extra}content-length: {len(payload)}\r\n\r\n"
        ).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.sendall(head + payload)
        self.received = b""

    def read_until(self, is_enough: Callable[[bytes], bool]) -> bytes:
        """Read until the bytes are enough or the server ends."""
        while not is_enough(self.received):
            data = self.socket.recv(65536)
            if not data:
                break
            self.received += data
        return self.received

    def read_words(self, count: int) -> bytes:
        """Read until ``count`` pieces of content have come."""
        return self.read_until(lambda data: data.count(WORD) >= count)

    def leave(self) -> None:
        self.socket.close()


def wait_for(check: Callable[[], Any], *, seconds: float = 10, what: str = "it") -> Any:
    """Poll until ``check`` returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def transcript(url: str) -> list[dict[str, Any]]:
    """Return what the scripted upstream has seen."""
    seen: list[dict[str, Any]] = requests.get(url + "/transcript", timeout=10).json()
    return seen

"""A scripted server of Anthropic's messages with a transcript: the fake at the socket that leaves.

A request's own field ``mock`` says how to answer, since unknown fields pass through unchanged:
``chunks`` (4), ``delay_ms`` between them (0), ``usage`` (true, false for none, or the figures to
report), ``stop_reason`` ("end_turn") and ``stop_sequence`` (null), ``fail_after`` chunks (never)
and for how long it ``stays_s`` then (0), ``status`` (200), and the fields of the ``error`` of
either. Asked to think, its streams think and sign that first. ``GET /transcript`` tells what was
asked, sent and left.

Run it: ``python -m tests.fakes.messages PORT``.
"""

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

WORD = " word"  # one token by our own count
THOUGHT, SIGNATURE, SEALED = "Hm, a word.", "signed-1", "sealed-1"
SCRIPT: dict[str, Any] = {
    "chunks": 4,
    "delay_ms": 0,
    "usage": True,
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "fail_after": None,
    "stays_s": 0,
    "status": 200,
    "error": {},
}
transcript: list[dict[str, Any]] = []


def frame(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def figures(script: dict[str, Any]) -> dict[str, Any]:
    if isinstance(script["usage"], dict):
        return dict(script["usage"])
    return {"input_tokens": 9, "output_tokens": script["chunks"]} if script["usage"] else {}


def reason(script: dict[str, Any]) -> dict[str, Any]:
    return {name: script[name] for name in ("stop_reason", "stop_sequence")}


def message(model: str, content: list[Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_upstream",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


async def answer(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    script = {**SCRIPT, **(asked.get("mock") or {})}
    exchange = {
        "body": asked,
        "key": request.headers.get("x-api-key"),
        "version": request.headers.get("anthropic-version"),
        "sent": 0,
        "left": False,
    }
    transcript.append(exchange)
    if script["status"] != 200:
        error = {"type": "error", "error": script["error"]}
        return web.json_response(error, status=script["status"])
    if not asked.get("stream"):
        text = {"type": "text", "text": WORD * script["chunks"]}
        whole = message(asked["model"], [text], figures(script))
        return web.json_response({**whole, **reason(script)})
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    try:
        await response.prepare(request)
        await stream(response, script, exchange)
    except (ConnectionError, asyncio.CancelledError):
        exchange["left"] = True
        raise
    return response


async def stream(
    response: web.StreamResponse, script: dict[str, Any], exchange: dict[str, Any]
) -> None:
    asked, usage = exchange["body"], figures(script)
    await response.write(frame("message_start", message=message(asked["model"], [], usage)))
    index = await think(response) if (asked.get("thinking") or {}).get("type") == "adaptive" else 0
    block = {"type": "text", "text": ""}
    await response.write(frame("content_block_start", index=index, content_block=block))
    delta = {"type": "text_delta", "text": WORD}
    for position in range(script["chunks"]):
        if position == script["fail_after"]:
            fault = {"type": "api_error", "message": "secret", **script["error"]}
            await response.write(frame("error", error=fault))
            await asyncio.sleep(script["stays_s"])
            return
        await response.write(frame("content_block_delta", index=index, delta=delta))
        exchange["sent"] += 1
        if script["delay_ms"]:
            await asyncio.sleep(script["delay_ms"] / 1000)
    await response.write(frame("content_block_stop", index=index))
    await response.write(frame("message_delta", delta=reason(script), usage=usage))
    await response.write(frame("message_stop"))


async def think(response: web.StreamResponse) -> int:
    """Think, in a block that is signed and one that is sealed; return the next block's index."""
    block = {"type": "thinking", "thinking": "", "signature": ""}
    await response.write(frame("content_block_start", index=0, content_block=block))
    for delta in (
        {"type": "thinking_delta", "thinking": THOUGHT},
        {"type": "signature_delta", "signature": SIGNATURE},
    ):
        await response.write(frame("content_block_delta", index=0, delta=delta))
    await response.write(frame("content_block_stop", index=0))
    block = {"type": "redacted_thinking", "data": SEALED}
    await response.write(frame("content_block_start", index=1, content_block=block))
    await response.write(frame("content_block_stop", index=1))
    return 2


async def tell(_request: web.Request) -> web.Response:
    return web.json_response(transcript)


def main(port: int) -> None:
    application = web.Application()
    application.router.add_post("/v1/messages", answer)
    application.router.add_get("/transcript", tell)
    web.run_app(application, host="127.0.0.1", port=port, print=None, handler_cancellation=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

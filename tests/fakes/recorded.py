"""A server of both dialects that says what stands in files: the fake at the socket that leaves.

The model that is asked for names the file: ``<dialect>.<model>.sse``, or ``.json`` for an answer
that is not streamed. Streams leave in small pieces that respect no frame. ``GET /transcript`` tells
the bodies that came.

Run it: ``python -m tests.fakes.recorded PORT FOLDER``.
"""

import sys
from pathlib import Path
from typing import Any

from aiohttp import web

PIECE = 100
PATHS = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}
transcript: list[dict[str, Any]] = []


def application(folder: Path) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        transcript.append(asked)
        ending = "sse" if asked.get("stream") else "json"
        path = folder / f"{PATHS[request.path]}.{asked['model']}.{ending}"
        said = path.read_bytes()  # a few KB of the tests' own
        if ending == "json":
            return web.Response(body=said, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for start in range(0, len(said), PIECE):
            await response.write(said[start : start + PIECE])
        return response

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response(transcript)

    made = web.Application()
    for path in PATHS:
        made.router.add_post(path, answer)
    made.router.add_get("/transcript", tell)
    return made


if __name__ == "__main__":
    web.run_app(application(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), print=None)

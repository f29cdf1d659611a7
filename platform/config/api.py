"""Django for the customers' API: without middleware, a few at a time, in any role that has it.

1. A place is taken, or the answer is 503: readers never crowd out calls, nor open connections
   without bound.
2. A body is read under a small limit and a deadline; where a path only reads, it is let go unread.
3. The request goes straight to its view, in a thread: a key opens it; there are no sessions,
   cookies or CSRF tokens.
4. The thread's connections are closed before the thread ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.db import connections
from django.http import HttpResponseBase
from django.urls import re_path

from billing import urls_api
from gateway.call import Call
from gateway.dialects.openai import DIALECT
from kernel.errors import SlowBodyError, TooLargeError, UnavailableError

MOST_AT_ONCE = 8
WAIT_S = 2.0
MOST_BODY_BYTES = 65_536
BODY_WAIT_S = 10.0
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


def api_routes() -> list[Any]:
    """Return the routes of the customers' API, for Channels' router."""
    places = asyncio.Semaphore(MOST_AT_ONCE)
    readers: Any = ApiHandler(places, reads_bodies=False)
    writers: Any = ApiHandler(places, reads_bodies=True)
    return [
        re_path(str(path.pattern), readers if _only_reads(path.callback) else writers)
        for path in urls_api.urlpatterns
    ]


def _only_reads(view: Any) -> bool:
    return set(view.cls.http_method_names) <= {"get", "head"}


class ApiHandler(ASGIHandler):
    def __init__(self, places: asyncio.Semaphore, *, reads_bodies: bool) -> None:
        super().__init__()
        self._places = places
        self._reads_bodies = reads_bodies

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            busy = UnavailableError("The server is busy; try again.", headers={"retry-after": "1"})
            await Call(dict(scope["headers"]), b"", DIALECT, send).refuse(busy)
            return
        try:
            body = await _read_body(receive) if self._reads_bodies else b""
            await super().__call__(scope, _replay(body, receive), send)
        except (TooLargeError, SlowBodyError) as error:
            await Call(dict(scope["headers"]), b"", DIALECT, send).refuse(error)
        finally:
            self._places.release()

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 # Django's
        """Put nothing between the request and its view."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._middleware_chain = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined] # missing in its types

    def create_request(self, scope: Any, body_file: Any) -> Any:
        request, error = super().create_request(scope, body_file)
        if request is not None:
            request.urlconf = urls_api.__name__
        return request, error

    async def get_response_async(self, request: ASGIRequest) -> HttpResponseBase:  # type: ignore[override] # untyped there
        try:
            response = await super().get_response_async(request)
            response.headers["cache-control"] = "no-store"
            return response
        finally:
            await sync_to_async(connections.close_all)()


async def _read_body(receive: Receive) -> bytes:
    """Return a request's body.

    Raises:
        TooLargeError: for more than 64 KiB; SlowBodyError: when it takes longer than ten seconds.

    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return b""
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                if size > MOST_BODY_BYTES:
                    raise TooLargeError(
                        f"The body is larger than {MOST_BODY_BYTES} bytes.",
                        headers={"connection": "close"},
                    )
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise SlowBodyError(
            "The request body arrived too slowly.", headers={"connection": "close"}
        ) from error


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that begins with the whole body and then says only that the caller left."""
    is_read = False

    async def receive_end() -> Mapping[str, Any]:
        nonlocal is_read
        if not is_read:
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message

    return receive_end

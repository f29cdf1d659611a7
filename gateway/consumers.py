"""The door: a Channels consumer that can hear.

``channels.generic.http.AsyncHttpConsumer`` is deaf while it serves, joins a body of any size, and
costs five times a bare application. So this one overrides ``__call__``:

1. Read the body under a size limit and a deadline.
2. Serve the call in a task that the registry knows. Our own server tells when the caller leaves
   (``exchanges.py``); with another one, daphne, a second task serves while this one listens.
3. Whichever comes first: the call is over, or the caller has left and its task is cancelled at
   once. It settles what was relayed before it ends; shutdown waits for the registry.

A stream stays open for minutes, and thousands of them at once. So nothing is kept here while one
runs but what hears its caller leave: no scope, no headers of the server's, no frame of a router.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from channels.consumer import AsyncConsumer
from django.conf import settings

from gateway.auth import authenticate
from gateway.call import Call, Send
from gateway.counting import serve_token_count
from gateway.dialects import anthropic, openai, responses
from gateway.exchanges import DEPARTURE
from gateway.listener import Listener
from gateway.openapi import render_document
from gateway.pipeline import serve_completion
from gateway.runtime import Runtime, current_runtime
from kernel.deadlines import Deadline
from kernel.errors import (
    MethodNotAllowedError,
    NotFoundError,
    SlowBodyError,
    TollgateError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)
from kernel.log import logger
from kernel.loops import running_loop

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Scope = Mapping[str, Any]
log = logger(__name__)


class CompletionConsumer(AsyncConsumer):
    """Serves POST on the chat completion paths."""

    method = "POST"
    dialect = openai.DIALECT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(dict(scope["headers"]), b"", self.dialect, send)
        call.address = (scope.get("client") or ("",))[0]
        scope["headers"].clear()  # the server would keep them as long as the answer takes
        tells_departure = DEPARTURE in scope.get("extensions", ())
        runtime = await self._begin(call, scope, receive)
        del scope
        if runtime is None:
            return
        if tells_departure:
            await self._serve_here(call, runtime, send)
        else:
            await self._serve_beside(call, runtime, receive)

    async def _serve_here(self, call: Call, runtime: Runtime, send: Send) -> None:
        """Serve the call in the server's own task."""
        task = asyncio.current_task(running_loop())
        assert task is not None, "a server runs tasks"

        def leave() -> None:
            if not call.is_over:
                task.cancel()

        runtime.calls.add(task)
        try:
            await send({"type": DEPARTURE, "tell": leave})
            await self.serve(call, runtime)
        except asyncio.CancelledError:
            pass  # by a departure or a shutdown, and the call has ended for either
        finally:
            runtime.calls.discard(task)

    async def _serve_beside(self, call: Call, runtime: Runtime, receive: Receive) -> None:
        """Serve the call in a task beside this one, which listens."""
        task = runtime.calls.serve(self.serve(call, runtime))
        listener = Listener(task)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            # the server may cancel us too (daphne does when a caller leaves): that is a departure
            if not listener.is_woken or listener.uncancel():
                raise
        finally:
            listener.stop()
            if not (task.done() or call.is_over):
                task.cancel()

    async def _begin(self, call: Call, scope: Scope, receive: Receive) -> Runtime | None:
        """Read the body; None where the call is over already."""
        try:
            if scope["method"] != self.method:
                raise _wrong_method(scope["method"], self.method)
            call.body = await _read_body(call.headers, receive)
            runtime = await current_runtime()
            if runtime.is_stopping or runtime.is_overloaded:
                raise UnavailableError(
                    "The server is busy; try again.", headers={"retry-after": "1"}
                )
        except _ClientLeftError:
            return None
        except TollgateError as error:
            await call.refuse(error)
            return None
        return runtime

    async def serve(self, call: Call, runtime: Runtime) -> None:
        """Serve the call to its end; a fault of ours is answered and logged, never shown."""
        try:
            await self.handle(call, runtime)
        except TollgateError as error:
            await call.refuse(error)
        except Exception:
            log.exception("call_failed", request=call.request_id)
            if not call.started:
                await call.refuse(TollgateError("The server had an error; try again."))

    def handle(self, call: Call, runtime: Runtime) -> Awaitable[None]:
        return serve_completion(call, runtime)


class MessagesConsumer(CompletionConsumer):
    """Serves POST on Anthropic's messages."""

    dialect = anthropic.DIALECT


class EmbeddingsConsumer(CompletionConsumer):
    """Serves POST on the embeddings paths: a call like any other, which writes nothing."""

    dialect = openai.EMBEDDINGS


class ResponsesConsumer(CompletionConsumer):
    """Serves POST on OpenAI's responses."""

    dialect = responses.DIALECT


class TokenCountConsumer(CompletionConsumer):
    """Serves POST on Anthropic's count of a prompt. Needs a key, costs nothing."""

    dialect = anthropic.COUNTING

    def handle(self, call: Call, runtime: Runtime) -> Awaitable[None]:
        return serve_token_count(call, runtime, anthropic.render_count)


class InputTokenCountConsumer(CompletionConsumer):
    """Serves POST on the count of what responses would read. Needs a key, costs nothing."""

    dialect = responses.DIALECT

    def handle(self, call: Call, runtime: Runtime) -> Awaitable[None]:
        return serve_token_count(call, runtime, responses.render_count)


class ModelsConsumer(CompletionConsumer):
    """Serves GET on the list of models and on one of them. Needs a key, costs nothing."""

    method = "GET"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._wanted = scope["url_route"]["kwargs"].get("model", "").rstrip("/")
        self._query = scope["query_string"]
        await super().__call__(scope, receive, send)

    async def handle(self, call: Call, runtime: Runtime) -> None:
        principal = await authenticate(
            runtime.keys,
            call.headers,
            call.address,
            prefer_x_api_key=call.dialect.prefers_x_api_key,
        )
        models = runtime.catalog.offered(principal)
        wanted = self._wanted
        if not wanted:
            page = call.dialect.render_models([*models.values()], self._query)
            await call.answer(page)
            return
        if wanted not in models:
            raise NotFoundError(
                f"Model not found: {wanted[:200]}", code="model_not_found", param="model"
            )
        await call.answer(call.dialect.render_model(models[wanted]))


class DocumentConsumer(CompletionConsumer):
    """Serves GET on the OpenAPI document, to anybody: it says nothing of what is offered."""

    method = "GET"

    async def handle(self, call: Call, runtime: Runtime) -> None:
        await call.answer(render_document())


class UnknownPathConsumer(CompletionConsumer):
    """Answers every other path below the data plane's prefixes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(dict(scope["headers"]), b"", self.dialect, send)
        await call.refuse(
            NotFoundError(f"Unknown request URL: {scope['method']} {scope['path'][:200]}.")
        )


class AnthropicModelsConsumer(ModelsConsumer):
    """The same list in Anthropic's form, by pages."""

    dialect = anthropic.DIALECT


class UnknownAnthropicPathConsumer(UnknownPathConsumer):
    """Answers every other path below Anthropic's prefix, in its form."""

    dialect = anthropic.DIALECT


class StatusConsumer(AsyncConsumer):
    """``/healthz``: it runs; ``/readyz``: it can take calls; ``/metrics``: its counters."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        runtime = await current_runtime()
        status, body = 200, b"ok\n"
        if scope["path"] == "/metrics":
            body = runtime.render_metrics()
        elif scope["path"] == "/readyz" and not runtime.is_ready:
            status, body = 503, b"not ready\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _ClientLeftError(Exception):
    pass


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """Return the body.

    Raises:
        TooLargeError, SlowBodyError, UnsupportedMediaError: said before the rest is read.
        _ClientLeftError: nobody is there to answer.

    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaError("Send the body without Content-Encoding.", headers=_CLOSE)
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > settings.MAX_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        with Deadline(settings.BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientLeftError
                part = message.get("body", b"")
                size += len(part)
                if size > settings.MAX_BODY_BYTES:
                    raise _too_large()
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise SlowBodyError("The request body arrived too slowly.", headers=_CLOSE) from error


# An early error leaves a body unread on the wire: the connection must not be used again.
_CLOSE = {"connection": "close"}


def _too_large() -> TooLargeError:
    return TooLargeError(
        f"The request body is larger than {settings.MAX_BODY_BYTES} bytes.", headers=_CLOSE
    )


def _wrong_method(sent: str, allowed: str) -> MethodNotAllowedError:
    return MethodNotAllowedError(
        f"{sent[:20]} is not allowed here; use {allowed}.", headers={"allow": allowed, **_CLOSE}
    )

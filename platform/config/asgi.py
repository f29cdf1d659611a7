"""The switchboard: which role this process plays, and who gets which request."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.urls import path, re_path

from gateway.consumers import UnknownPathConsumer
from gateway.live import LiveConsumer
from gateway.routes import routes
from gateway.runtime import current_runtime, stop_runtime

async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Start and stop the data plane's runtime with the server (daphne has no lifespan)."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if settings.SERVE != "web":
                await current_runtime()
            await send({"type": "lifespan.startup.complete"})
        else:
            await stop_runtime()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _http() -> Any:
    match settings.SERVE:
        case "api":
            return URLRouter([*routes, re_path(r"", UnknownPathConsumer.as_asgi())])
        case "web":
            return pages
        case _:
            return URLRouter([*routes, re_path(r"", pages)])


_router = ProtocolTypeRouter(
    {
        "http": _http(),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("live/", LiveConsumer.as_asgi())]))
        ),
        "lifespan": lifespan,
    }
)


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Route a connection. A client's ``Daphne-Root-Path`` header must not rewrite its path."""
    if scope.get("root_path"):
        scope = {**scope, "root_path": ""}
    await _router(scope, receive, send)

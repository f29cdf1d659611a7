"""The switchboard: which role this process plays, and who gets which request."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 # after setup, as Django asks
from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def lifespan(_scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Start and stop the data plane's runtime with the server (daphne has no lifespan)."""
    from gateway.runtime import current_runtime, stop_runtime

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


def _data_plane() -> dict[str, Any]:
    from config.api import api_routes
    from gateway.consumers import UnknownPathConsumer
    from gateway.routes import route, routes, unknown_routes

    last = route(r"", UnknownPathConsumer)
    return {"http": URLRouter([*routes, *api_routes(), *unknown_routes, last])}


def _pages() -> dict[str, Any]:
    from channels.auth import AuthMiddlewareStack
    from channels.security.websocket import AllowedHostsOriginValidator
    from django.core.asgi import get_asgi_application

    from gateway.live import LiveConsumer

    live: Any = LiveConsumer.as_asgi()
    live = URLRouter([re_path(r"^live/$", live)])
    return {
        "http": get_asgi_application(),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(live)),
    }


def _everything() -> dict[str, Any]:
    from config.api import api_routes
    from gateway.routes import routes, unknown_routes

    pages = _pages()
    rest: Any = re_path(r"", pages["http"])
    return {**pages, "http": URLRouter([*routes, *api_routes(), *unknown_routes, rest])}


def _direct() -> dict[str, Any]:
    if settings.SERVE == "web":
        return {}
    from gateway.routes import DIRECT

    return {**DIRECT}


_consumers = _direct()
_ROLES = {"api": _data_plane, "web": _pages, "all": _everything}
_router: Any = ProtocolTypeRouter({**_ROLES[settings.SERVE](), "lifespan": lifespan})


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Route a connection. A client's ``Daphne-Root-Path`` header must not rewrite its path."""
    consumer = _consumers.get(scope.get("path", ""))
    if consumer is not None and scope["type"] == "http":
        await consumer()(scope, receive, send)
        return
    if scope.get("root_path"):
        scope = {**scope, "root_path": ""}
    serving = await _router(scope, receive, send)
    if serving is not None:  # a route of the gateway's says who serves (``gateway.routes``)
        await serving

"""The data plane's paths, for Channels' router. Aliases share one handler."""

from typing import Any

from channels.consumer import AsyncConsumer
from django.urls import re_path

from gateway.consumers import (
    CompletionConsumer,
    ModelsConsumer,
    StatusConsumer,
    UnknownPathConsumer,
)

_OPENAI = r"^(?:v1|api/v1|api)"


def route(pattern: str, consumer: type[AsyncConsumer]) -> Any:
    """Return a route to a consumer; Channels' router takes Django's patterns and ASGI callables."""
    return re_path(pattern, consumer.as_asgi())  # type: ignore[arg-type] # typed for views only


routes = [
    route(_OPENAI + r"/chat/completions/?$", CompletionConsumer),
    route(_OPENAI + r"/models(?:/(?P<model>.*))?$", ModelsConsumer),
    route(r"^(?:healthz|readyz|metrics)$", StatusConsumer),
    route(r"^(?:v1|api|anthropic)(?:/|$)", UnknownPathConsumer),
]

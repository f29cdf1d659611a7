"""The data plane's paths, for Channels' router. Aliases share one handler."""

from typing import Any

from channels.consumer import AsyncConsumer
from django.urls import re_path

from gateway.consumers import (
    AnthropicModelsConsumer,
    CompletionConsumer,
    DocumentConsumer,
    EmbeddingsConsumer,
    MessagesConsumer,
    ModelsConsumer,
    ResponsesConsumer,
    StatusConsumer,
    TokenCountConsumer,
    UnknownAnthropicPathConsumer,
    UnknownPathConsumer,
)

_OPENAI = r"^(?:v1|api/v1|api)"


def route(pattern: str, consumer: type[AsyncConsumer]) -> Any:
    """Return a route to a consumer; Channels' router takes Django's patterns and ASGI callables."""
    return re_path(pattern, consumer.as_asgi())  # type: ignore[arg-type] # typed for views only


# Looked through in this order: what is called most comes first.
routes = [
    route(_OPENAI + r"/chat/completions/?$", CompletionConsumer),
    route(_OPENAI + r"/embeddings/?$", EmbeddingsConsumer),
    route(_OPENAI + r"/responses/?$", ResponsesConsumer),
    route(_OPENAI + r"/models(?:/(?P<model>.*))?$", ModelsConsumer),
    route(_OPENAI + r"/openapi\.json$", DocumentConsumer),
    route(r"^anthropic/v1/messages/?$", MessagesConsumer),
    route(r"^anthropic/v1/messages/count_tokens/?$", TokenCountConsumer),
    route(r"^anthropic/v1/models(?:/(?P<model>.*))?$", AnthropicModelsConsumer),
    route(r"^(?:healthz|readyz|metrics)$", StatusConsumer),
]
unknown_routes = [
    route(r"^anthropic(?:/|$)", UnknownAnthropicPathConsumer),
    route(r"^(?:v1|api)(?:/|$)", UnknownPathConsumer),
]

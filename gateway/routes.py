"""The data plane's paths, for Channels' router. Aliases share one handler."""

from typing import Any

from channels.consumer import AsyncConsumer
from django.urls import re_path

from gateway.consumers import (
    AnthropicModelsConsumer,
    CompletionConsumer,
    DocumentConsumer,
    EmbeddingsConsumer,
    InputTokenCountConsumer,
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
    """Return a route to a consumer; Channels' router takes Django's patterns and ASGI callables.

    Routers await and return what a route returns: here who serves, to be awaited by whoever asked
    the router (``config.asgi``). Else every open stream would keep the router's frames and its
    copy of the scope.
    """

    async def find(scope: Any, receive: Any, send: Any) -> Any:
        return consumer()(scope, receive, send)

    find.consumer_class = consumer  # type: ignore[attr-defined] # as Channels' own has it
    return re_path(pattern, find)


# Found without a pattern: what is called all the time.
DIRECT = {
    "/v1/chat/completions": CompletionConsumer,
    "/anthropic/v1/messages": MessagesConsumer,
}
# Looked through in this order: what is called most comes first.
routes = [
    route(_OPENAI + r"/chat/completions/?$", CompletionConsumer),
    route(_OPENAI + r"/embeddings/?$", EmbeddingsConsumer),
    route(_OPENAI + r"/responses/?$", ResponsesConsumer),
    route(_OPENAI + r"/responses/input_tokens/?$", InputTokenCountConsumer),
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

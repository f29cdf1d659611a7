"""The data plane's paths, for Channels' router. Aliases share one handler."""

from channels.routing import URLRouter
from django.urls import re_path

from gateway.consumers import (
    CompletionConsumer,
    ModelsConsumer,
    StatusConsumer,
    UnknownPathConsumer,
)

_OPENAI = r"^(?:v1|api/v1|api)"

routes = [
    re_path(_OPENAI + r"/chat/completions/?$", CompletionConsumer.as_asgi()),
    re_path(_OPENAI + r"/models(?:/(?P<model>.*))?$", ModelsConsumer.as_asgi()),
    re_path(r"^(?:healthz|readyz|metrics)$", StatusConsumer.as_asgi()),
    re_path(r"^(?:v1|api|anthropic)(?:/|$)", UnknownPathConsumer.as_asgi()),
]

data_plane = URLRouter(routes)

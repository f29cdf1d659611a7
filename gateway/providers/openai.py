"""Any server that speaks OpenAI's dialect: what callers of it say goes through but for a field.

Callers of another dialect are answered in events.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from gateway.catalog import Deployment
from gateway.chat import ChatRequest
from gateway.dialects.extras import say_extras
from gateway.dialects.openai.incoming import EventReader
from gateway.dialects.openai.outgoing import render_request
from gateway.dialects.openai.parameters import MOST_STOPS
from gateway.providers.base import Upstream
from gateway.providers.http import HttpUpstream, ProviderPool, post_json
from gateway.providers.stops import StopCutter
from gateway.providers.translated import open_translated

OPENAI = "https://api.openai.com/"
NEW_LIMIT = "max_completion_tokens"


class OpenAIProvider:
    """``decrypt`` opens a deployment's stored credential."""

    dialect = "openai"

    def __init__(self, pool: ProviderPool, decrypt: Callable[[bytes], str]) -> None:
        self._pool = pool
        self._decrypt = decrypt

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> Upstream:
        """See ``Provider.open``."""
        if request.embed is not None:
            body = orjson.dumps({**request.wire, "model": deployment.upstream_model})
            return await self._post(body, deployment, streams=False, path="/embeddings")
        limit_field = find_limit_field(deployment)
        if request.dialect == self.dialect:
            say_extras(request, self.dialect)  # the wire says them, except what is refused
            body = render_body(request, deployment.upstream_model, max_output_tokens, limit_field)
            return await self._post(body, deployment, streams=request.stream)
        body = render_request(request, deployment.upstream_model, max_output_tokens, limit_field)
        too_many = len(request.stop) > MOST_STOPS  # it was told of none of them: cut here
        filters = [StopCutter(request.stop)] if too_many else []
        reader = EventReader(request.stop)
        opening = self._post(body, deployment, streams=request.stream)
        return await open_translated(opening, reader, filters)

    def _post(
        self,
        body: bytes,
        deployment: Deployment,
        *,
        streams: bool,
        path: str = "/chat/completions",
    ) -> Coroutine[Any, Any, HttpUpstream]:
        headers = {}
        if deployment.credential is not None:
            headers["authorization"] = f"Bearer {self._decrypt(deployment.credential)}"
        url = deployment.base_url + path
        return post_json(self._pool, url, body, headers, deployment, streams=streams)


def find_limit_field(deployment: Deployment) -> str:
    """Return how the limit of an answer is called there, empty where the caller's name will do.

    OpenAI itself takes the new name for every model, and for those that think no other; elsewhere
    an operator may have to say it.
    """
    is_theirs = deployment.base_url.startswith(OPENAI)
    return deployment.limit_field or (NEW_LIMIT if is_theirs else "")


def render_body(
    request: ChatRequest, upstream_model: str, max_output_tokens: int, limit_field: str = ""
) -> bytes:
    """Return the caller's own body with the provider's model, usage asked for, output bounded.

    The bound is the one that is held for, under ``limit_field`` or else the caller's name for it.
    """
    body: dict[str, Any] = {**request.wire, "model": upstream_model}
    body.pop("max_tokens", None)
    asked = "max_tokens" if body.pop("max_completion_tokens", None) is None else NEW_LIMIT
    body[limit_field or asked] = request.max_tokens or max_output_tokens
    if request.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(body)

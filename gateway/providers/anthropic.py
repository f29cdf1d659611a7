"""Any server that speaks Anthropic's messages: the same dialect goes through but for the model."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from gateway.catalog import Deployment
from gateway.chat import ChatRequest, FormatKind
from gateway.dialects.anthropic.incoming import EventReader
from gateway.dialects.anthropic.outgoing import render_request
from gateway.dialects.extras import say_extras
from gateway.providers.base import Upstream
from gateway.providers.http import HttpUpstream, ProviderPool, post_json
from gateway.providers.stops import StopCutter
from gateway.providers.translated import (
    ChoiceByChoice,
    Filter,
    JsonCheck,
    TranslatedUpstream,
    open_translated,
)
from kernel.errors import NotCarriedError

# From this version on these are refused.
VERSION_WITHOUT_DRAWING = "2026-10-21"
_DRAWING = ("temperature", "top_p", "top_k")


class AnthropicProvider:
    """``decrypt`` opens a deployment's stored credential.

    ``base_url`` ends before ``/v1``, as this dialect's clients have it; with it is understood too.
    """

    dialect = "anthropic"

    def __init__(self, pool: ProviderPool, decrypt: Callable[[bytes], str]) -> None:
        self._pool = pool
        self._decrypt = decrypt

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> Upstream:
        """See ``Provider.open``."""
        if request.embed is not None:
            raise NotCarriedError("This model's provider has no embeddings.", param="model")
        if request.dialect == self.dialect:
            say_extras(request, self.dialect)  # the wire says them, except what is refused
            body = render_body(request, deployment)
            return await self._post(body, deployment, streams=request.stream)
        body = render_request(
            _drawn_as(request, deployment),
            deployment.upstream_model,
            max_output_tokens,
            deployment.signer,
        )
        open_choice = partial(self._open_choice, request, body, deployment)
        first = await open_choice(0)
        return first if request.n == 1 else ChoiceByChoice(first, request.n, open_choice)

    async def _open_choice(
        self, request: ChatRequest, body: bytes, deployment: Deployment, choice: int
    ) -> TranslatedUpstream:
        opening = self._post(body, deployment, streams=request.stream)
        return await open_translated(opening, EventReader(choice), _filters(request, choice))

    def _post(
        self, body: bytes, deployment: Deployment, *, streams: bool
    ) -> Coroutine[Any, Any, HttpUpstream]:
        headers = {"anthropic-version": deployment.anthropic_version}
        if deployment.credential is not None:
            headers["x-api-key"] = self._decrypt(deployment.credential)
        url = deployment.base_url.removesuffix("/v1") + "/v1/messages"
        return post_json(self._pool, url, body, headers, deployment, streams=streams)


def render_body(request: ChatRequest, deployment: Deployment) -> bytes:
    """Return the caller's own body with the provider's model, and the limit that is held for.

    What the provider's version refuses is left out: it only steers.
    """
    body = {
        **request.wire,
        "model": deployment.upstream_model,
        "max_tokens": request.max_tokens,
    }
    if _draws_itself(deployment):
        for field in _DRAWING:
            body.pop(field, None)
    return orjson.dumps(body)


def _draws_itself(deployment: Deployment) -> bool:
    return deployment.anthropic_version >= VERSION_WITHOUT_DRAWING


def _drawn_as(request: ChatRequest, deployment: Deployment) -> ChatRequest:
    if not _draws_itself(deployment):
        return request
    return replace(request, temperature=None, top_p=None, top_k=None)


def _filters(request: ChatRequest, choice: int) -> list[Filter]:
    filters: list[Filter] = []
    if any(not stop.strip() for stop in request.stop):  # refused there: cut here
        filters.append(StopCutter(request.stop, choice))
    if request.response_format.kind is FormatKind.JSON_OBJECT:
        filters.append(JsonCheck())
    return filters

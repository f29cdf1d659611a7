"""Any server that speaks OpenAI's chat completions: its bytes go through, but for two fields."""

from collections.abc import Callable
from functools import cache
from typing import Any

import aiohttp
import orjson

from gateway.catalog import Deployment
from gateway.chat import ChatRequest
from gateway.providers.base import ByteUpstream
from gateway.providers.http import post_json


class OpenAIProvider:
    """``decrypt`` opens a deployment's stored credential."""

    dialect = "openai"

    def __init__(self, session: aiohttp.ClientSession, decrypt: Callable[[bytes], str]) -> None:
        self._session = session
        self._decrypt = decrypt

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> ByteUpstream:
        """See ``Provider.open``."""
        headers = {}
        if deployment.credential is not None:
            headers["authorization"] = f"Bearer {self._decrypt(deployment.credential)}"
        deadlines = _deadlines(
            deployment.total_timeout_s, deployment.connect_timeout_s, deployment.read_timeout_s
        )
        return await post_json(
            self._session,
            deployment.base_url + "/chat/completions",
            render_body(request, deployment.upstream_model, max_output_tokens),
            headers,
            deadlines,
        )


@cache
def _deadlines(total_s: int, connect_s: int, read_s: int) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, connect=connect_s, sock_read=read_s)


def render_body(request: ChatRequest, upstream_model: str, max_output_tokens: int) -> bytes:
    """Return the caller's own body with the provider's model, usage asked for, output bounded."""
    body: dict[str, Any] = {**request.wire, "model": upstream_model}
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        body["max_tokens"] = max_output_tokens
    if request.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(body)

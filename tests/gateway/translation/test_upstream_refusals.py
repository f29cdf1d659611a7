"""What an upstream refuses us, in the platform's words: its account is not the caller's."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.catalog import Deployment
from gateway.providers.faults import BeyondContextError
from gateway.providers.http import ProviderPool, post_json
from kernel import errors

LOOPBACK = [IPv4Network("127.0.0.0/8")]
PATIENT = Deployment(1, "acme", "openai", "", None, 20, 20, 20, 20, "m")


async def refuse(request: web.Request) -> web.Response:
    asked = await request.json()
    return web.json_response(asked["body"], status=asked["status"])


@pytest.fixture
async def url() -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/", refuse)
    async with TestServer(application) as server:
        yield str(server.make_url("/"))


async def refusal(url: str, status: int, body: Any) -> errors.TollgateError:
    async with ProviderPool(LOOPBACK) as pool:
        asked = web.json_response({"status": status, "body": body}).body
        assert isinstance(asked, bytes)
        with pytest.raises(errors.TollgateError) as caught:
            await post_json(pool, url, asked, {}, PATIENT, streams=False)
    assert "secret" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.UpstreamError),
        (402, errors.UpstreamError),
        (403, errors.UpstreamError),
        (404, errors.UpstreamError),
        (408, errors.UpstreamTimeoutError),
        (413, errors.BadRequestError),
        (429, errors.UnavailableError),
        (500, errors.UpstreamError),
        (529, errors.UnavailableError),
    ],
)
async def test_each_status_has_its_meaning(
    url: str, status: int, kind: type[errors.TollgateError]
) -> None:
    assert isinstance(await refusal(url, status, {"error": {"message": "secret"}}), kind)


@pytest.mark.parametrize(
    ("error", "param"),
    [
        ({"message": "secret", "param": "messages[0].role"}, "messages[0].role"),
        ({"type": "invalid_request_error", "message": "top_k: secret"}, "top_k"),
        ({"message": "messages.0.content: secret", "param": None}, "messages.0.content"),
        ({"message": "A secret: here"}, None),
        ({"message": "secret", "param": 5}, None),
        ({"message": "secret", "param": "a secret"}, None),
        ("secret", None),
    ],
)
async def test_the_field_at_fault_is_named_where_the_upstream_does(
    url: str, error: Any, param: str | None
) -> None:
    assert (await refusal(url, 400, {"error": error})).param == param


@pytest.mark.parametrize(
    "error",
    [
        {"message": "secret", "code": "context_length_exceeded", "param": "secret"},
        {"message": "prompt is too long: 9 tokens > 8 maximum, secret"},
        {"message": "This model's maximum context length is 8 tokens, secret"},
    ],
)
async def test_a_prompt_that_it_has_no_room_for_is_said_to_be_that(url: str, error: Any) -> None:
    told = await refusal(url, 400, {"error": error})

    assert type(told) is BeyondContextError
    assert (told.http_status, told.code, told.param) == (400, "context_length_exceeded", None)


async def test_an_account_that_is_refused_is_that_whatever_else_is_said(url: str) -> None:
    error = {"message": "secret", "code": "context_length_exceeded"}

    assert type(await refusal(url, 401, {"error": error})) is errors.UpstreamError


async def test_our_empty_account_there_is_not_the_callers_bad_request(url: str) -> None:
    error = {
        "type": "invalid_request_error",
        "message": "Your credit balance is too low to access the API. secret",
    }

    assert type(await refusal(url, 400, {"type": "error", "error": error})) is errors.UpstreamError

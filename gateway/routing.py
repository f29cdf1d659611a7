"""Who serves a call: candidates in order, and the first that is willing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest
from gateway.providers.base import Provider, Upstream
from kernel import clock
from kernel.errors import (
    BadRequestError,
    NotCarriedError,
    TollgateError,
    UnavailableError,
    UpstreamTimeoutError,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream that has begun to answer, whose it is, and when it was asked (monotonic)."""

    upstream: Upstream
    deployment: Deployment
    asked_at: float


async def open_first_willing(
    model: CatalogModel,
    request: ChatRequest,
    providers: Mapping[str, Provider],
    *,
    within_s: float,
) -> Opened:
    """Open the model's deployments in order of priority; the first good answer wins.

    Trying the next one is safe: nothing has been relayed yet, and the hold covers any of them.

    Raises:
        BadRequestError: at once, since the next provider would refuse it too, unless the fault is
            only that the request cannot be said in a provider's dialect.
        TollgateError: the last failure, when nobody was willing, or the time is over.

    """
    try:
        async with asyncio.timeout(within_s):
            return await _open_first_willing(model, request, providers)
    except TimeoutError as error:
        raise UpstreamTimeoutError("No provider answered in the time a call may take.") from error


async def _open_first_willing(
    model: CatalogModel, request: ChatRequest, providers: Mapping[str, Provider]
) -> Opened:
    failure: TollgateError = UnavailableError(
        "No provider serves this model at the moment; try again shortly.",
        headers={"retry-after": "5"},
    )
    for deployment in model.deployments:
        asked_at = clock.monotonic()
        try:
            upstream = await providers[deployment.kind].open(
                request, deployment, max_output_tokens=model.max_output_tokens
            )
        except NotCarriedError as error:
            failure = error
        except BadRequestError:
            raise
        except TollgateError as error:
            failure = error
        else:
            return Opened(upstream, deployment, asked_at)
    raise failure

"""Who serves a call: candidates in order, and the first that is willing."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest
from gateway.providers.base import Provider, Upstream
from kernel.errors import BadRequestError, TollgateError, UnavailableError


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream that has begun to answer, and whose it is."""

    upstream: Upstream
    deployment: Deployment


async def open_first_willing(
    model: CatalogModel, request: ChatRequest, providers: Mapping[str, Provider]
) -> Opened:
    """Open the model's deployments in order of priority; the first good answer wins.

    Trying the next one is safe: nothing has been relayed yet, and the hold covers any of them.

    Raises:
        BadRequestError: at once, since the next provider would refuse it too.
        TollgateError: the last failure, when nobody was willing.

    """
    failure: TollgateError = UnavailableError(
        "No provider serves this model at the moment; try again shortly.",
        headers={"retry-after": "5"},
    )
    for deployment in model.deployments:
        try:
            upstream = await providers[deployment.kind].open(
                request, deployment, max_output_tokens=model.max_output_tokens
            )
        except BadRequestError:
            raise
        except TollgateError as error:
            failure = error
        else:
            return Opened(upstream, deployment)
    raise failure

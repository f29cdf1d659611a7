"""What a provider does to one organization's own key changes nothing for the others."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest
from gateway.providers.faults import OverloadedError, OwnKeyRefusedError
from gateway.routing.router import Router
from kernel import clock
from kernel.errors import TollgateError, UnavailableError, UpstreamError

PLATFORMS = Deployment(1, "acme", "scripted", "", None, 1, 1, 1, 1, "m")
SPARE = replace(PLATFORMS, provider_id=2, provider="spare", priority=1)
OWN = replace(PLATFORMS, key_owner=7)
MALLORYS = replace(PLATFORMS, key_owner=8)


class FailsUnderOneKey:
    """A provider that fails the calls under one owner's key."""

    dialect = "none"

    def __init__(self, owner: int | None, fault: TollgateError) -> None:
        self.owner = owner
        self.fault = fault
        self.asked: list[tuple[str, int | None]] = []

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> Any:
        self.asked.append((deployment.provider, deployment.key_owner))
        if deployment.key_owner == self.owner and deployment.provider == "acme":
            raise self.fault
        return object()


async def ask(router: Router, *deployments: Deployment) -> None:
    model = CatalogModel("public", "tollgate", 1, 1, 1, None, deployments)
    tries = router.begin_tries(clock.monotonic() + 30)
    opened = await router.open_first_willing(model, ChatRequest("public", (), {}), "req_1", tries)
    opened.visit.end(well=True)


def make_router(provider: FailsUnderOneKey) -> Router:
    return Router({"scripted": provider}, failures=2, tell=lambda *_: None)


@pytest.mark.parametrize("fault", [UpstreamError("x"), OverloadedError(30), OverloadedError()])
async def test_failures_under_one_key_open_no_circuit_of_another(fault: TollgateError) -> None:
    provider = FailsUnderOneKey(7, fault)
    router = make_router(provider)

    for _ in range(4):
        with pytest.raises(TollgateError):
            await ask(router, OWN)

    await ask(router, PLATFORMS)
    await ask(router, MALLORYS)
    assert provider.asked[-2:] == [("acme", None), ("acme", 8)]


async def test_failures_of_the_platforms_key_open_no_circuit_of_an_own_one() -> None:
    provider = FailsUnderOneKey(None, UpstreamError("x"))
    router = make_router(provider)

    for _ in range(2):
        with pytest.raises(UpstreamError):
            await ask(router, PLATFORMS)
    with pytest.raises(UnavailableError):
        await ask(router, PLATFORMS)

    await ask(router, OWN)
    assert provider.asked == [("acme", None), ("acme", None), ("acme", 7)]


async def test_a_refused_own_key_is_said_at_once_each_time_and_nobody_else_is_asked() -> None:
    provider = FailsUnderOneKey(7, OwnKeyRefusedError())
    router = make_router(provider)

    for _ in range(5):
        with pytest.raises(OwnKeyRefusedError):
            await ask(router, OWN, SPARE)

    assert provider.asked == [("acme", 7)] * 5
    assert not router.begin_tries(clock.monotonic() + 30).may_ask_next_model(OwnKeyRefusedError())
    assert router.open_circuits == 0


async def test_an_outage_of_the_provider_goes_on_to_the_next_one_as_ever() -> None:
    provider = FailsUnderOneKey(7, UpstreamError("x"))

    await ask(make_router(provider), OWN, SPARE)

    assert provider.asked == [("acme", 7), ("spare", None)]

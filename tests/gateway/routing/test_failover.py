"""Calls go on to the next provider before the first byte, and nobody is asked twice."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest
from gateway.providers.faults import OverloadedError
from gateway.routing.router import Opened, Router
from kernel.errors import (
    BadRequestError,
    NotCarriedError,
    TollgateError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
)

REQUEST = ChatRequest("public", (), {})


class Scripted:
    """A provider whose deployments fail as they are told to."""

    dialect = "none"

    def __init__(self, faults: dict[str, TollgateError]) -> None:
        self.faults = faults
        self.asked: list[str] = []

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> Any:
        self.asked.append(deployment.provider)
        if deployment.provider in self.faults:
            raise self.faults[deployment.provider]
        return object()


def served_by(names: Sequence[str], *, concurrency: int | None = None) -> CatalogModel:
    deployments = [
        Deployment(
            place,
            name,
            "scripted",
            "",
            None,
            *(1, 1, 1, 1, "m"),
            priority=place,
            concurrency=concurrency,
        )
        for place, name in enumerate(names)
    ]
    return CatalogModel("public", "tollgate", 1, 1, 1, None, deployments)


def make_router(provider: Scripted, *, failures: int = 3) -> Router:
    return Router({"scripted": provider}, failures=failures, tell=lambda *_: None)


async def ask(router: Router, model: CatalogModel) -> Opened:
    return await router.open_first_willing(model, REQUEST, "req_1", within_s=30)


@pytest.mark.parametrize(
    "fault",
    [
        UpstreamError("x"),
        UpstreamTimeoutError("x"),
        OverloadedError(),
        OverloadedError(5),
        NotCarriedError("x"),
    ],
)
async def test_the_next_provider_is_asked_after_a_fault(fault: TollgateError) -> None:
    provider = Scripted({"first": fault})

    opened = await ask(make_router(provider), served_by(["first", "second"]))

    assert opened.visit.deployment.provider == "second"
    assert provider.asked == ["first", "second"]


async def test_a_bad_request_is_refused_at_once() -> None:
    provider = Scripted({"first": BadRequestError("x")})

    with pytest.raises(BadRequestError):
        await ask(make_router(provider), served_by(["first", "second"]))

    assert provider.asked == ["first"]


async def test_three_providers_are_asked_at_most_and_none_twice() -> None:
    provider = Scripted({name: UpstreamError(name) for name in "abcd"})

    with pytest.raises(UpstreamError):
        await ask(make_router(provider), served_by("abcd"))

    assert provider.asked == ["a", "b", "c"]


async def test_without_a_budget_the_first_fault_is_the_answer() -> None:
    provider = Scripted({"first": UpstreamError("x")})
    router = make_router(provider, failures=1000)
    while router.retries.spend():
        pass

    with pytest.raises(UpstreamError):
        await ask(router, served_by(["first", "second"]))

    assert provider.asked == ["first"]
    assert router.retries.denied == 2


async def test_a_provider_that_keeps_failing_is_skipped_without_a_retry() -> None:
    provider = Scripted({"first": UpstreamError("x")})
    router, model = make_router(provider), served_by(["first", "second"])
    for _ in range(3):
        (await ask(router, model)).visit.end(well=True)
    provider.asked.clear()

    await ask(router, model)

    assert provider.asked == ["second"]
    assert (router.retries.spent, router.open_circuits) == (3, 1)


async def test_a_provider_that_names_a_time_is_not_asked_before() -> None:
    provider = Scripted({"only": OverloadedError(30)})
    router, model = make_router(provider), served_by(["only"])
    with pytest.raises(OverloadedError):
        await ask(router, model)

    with pytest.raises(UnavailableError) as caught:
        await ask(router, model)

    assert provider.asked == ["only"]
    assert caught.value.headers == {"retry-after": "5"}


async def test_an_overloaded_provider_without_a_time_is_asked_after_the_others() -> None:
    provider = Scripted({"first": OverloadedError()})
    router, model = make_router(provider), served_by(["first", "second"])
    await ask(router, model)
    provider.asked.clear()

    await ask(router, model)

    assert provider.asked == ["second"]


async def test_a_full_provider_is_passed_over_and_served_again_when_a_place_is_free() -> None:
    provider = Scripted({})
    router, model = make_router(provider), served_by(["first", "second"], concurrency=1)
    first = await ask(router, model)
    second = await ask(router, model)

    with pytest.raises(UnavailableError):
        await ask(router, model)
    first.visit.end(well=True)
    first.visit.end(well=True)
    again = await ask(router, model)

    assert second.visit.deployment.provider == "second"
    assert again.visit.deployment.provider == "first"
    assert provider.asked == ["first", "second", "first"]


async def test_a_refused_or_failed_call_keeps_no_place() -> None:
    provider = Scripted({"only": BadRequestError("x")})
    router, model = make_router(provider), served_by(["only"], concurrency=1)

    for fault in (BadRequestError("x"), UpstreamError("x"), BadRequestError("x")):
        provider.faults["only"] = fault
        with pytest.raises(type(fault)):
            await ask(router, model)

    assert len(provider.asked) == 3

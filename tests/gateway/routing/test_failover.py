"""Calls go on to the next provider before the first byte, and nobody is asked twice."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest
from gateway.providers.faults import OverloadedError
from gateway.routing.router import Opened, Router
from kernel import clock
from kernel.errors import (
    BadRequestError,
    NoCreditError,
    NotCarriedError,
    RateLimitError,
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


class Endless(Scripted):
    """A provider that never begins to answer."""

    async def open(
        self, request: ChatRequest, deployment: Deployment, *, max_output_tokens: int
    ) -> Any:
        await asyncio.Event().wait()


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
    tries = router.begin_tries(clock.monotonic() + 30)
    return await router.open_first_willing(model, REQUEST, "req_1", tries)


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


async def test_the_next_models_first_provider_takes_a_retry() -> None:
    provider = Scripted({"first": UpstreamError("x")})
    router = make_router(provider)
    tries = router.begin_tries(clock.monotonic() + 30)
    with pytest.raises(UpstreamError) as caught:
        await router.open_first_willing(served_by(["first"]), REQUEST, "req_1", tries)

    may_go_on = tries.may_ask_next_model(caught.value)
    opened = await router.open_first_willing(served_by(["second"]), REQUEST, "req_1", tries)

    assert may_go_on is True
    assert opened.visit.deployment.provider == "second"
    assert router.retries.spent == 1


async def test_the_next_model_is_free_to_ask_where_nobody_was_asked_before() -> None:
    provider = Scripted({"first": OverloadedError(30)})
    router = make_router(provider)
    with pytest.raises(OverloadedError):
        await ask(router, served_by(["first"]))
    tries = router.begin_tries(clock.monotonic() + 30)
    with pytest.raises(UnavailableError) as caught:
        await router.open_first_willing(served_by(["first"]), REQUEST, "req_1", tries)

    assert tries.may_ask_next_model(caught.value)
    await router.open_first_willing(served_by(["second"]), REQUEST, "req_1", tries)
    assert provider.asked == ["first", "second"]
    assert router.retries.spent == 0


async def test_without_a_budget_the_next_model_says_how_the_first_one_failed() -> None:
    provider = Scripted({"first": UpstreamError("first fault")})
    router = make_router(provider)
    while router.retries.spend():
        pass
    tries = router.begin_tries(clock.monotonic() + 30)
    with pytest.raises(UpstreamError):
        await router.open_first_willing(served_by(["first"]), REQUEST, "req_1", tries)

    with pytest.raises(UpstreamError, match="first fault") as caught:
        await router.open_first_willing(served_by(["second"]), REQUEST, "req_1", tries)

    assert provider.asked == ["first"]
    assert not tries.may_ask_next_model(caught.value)


async def test_once_the_time_is_over_no_model_is_asked() -> None:
    router = make_router(Endless({}))
    tries = router.begin_tries(clock.monotonic() + 0.01)

    with pytest.raises(UpstreamTimeoutError) as caught:
        await router.open_first_willing(served_by(["only"]), REQUEST, "req_1", tries)

    assert not tries.may_ask_next_model(caught.value)


@pytest.mark.parametrize("refusal", [BadRequestError("x"), RateLimitError("x"), NoCreditError("x")])
def test_what_is_refused_to_the_caller_leads_to_no_other_model(refusal: TollgateError) -> None:
    assert not make_router(Scripted({})).begin_tries(1.0).may_ask_next_model(refusal)


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

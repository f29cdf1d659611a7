"""How an answer leaves: as planned, in batches, at its speed; two models misbehave on purpose."""

import asyncio
import time

import pytest

from gateway.catalog import Deployment
from gateway.chat import (
    ChoiceFinished,
    StopReason,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from gateway.providers.simulator import SimulatorProvider, Speed, events, plan
from kernel.errors import BadRequestError, UpstreamError
from tests.gateway.dialects.asking import WEATHER
from tests.gateway.simulator.asking import ask, heard, said


async def test_the_events_are_the_plan_token_by_token() -> None:
    request = ask("Tell me a story", n=2)
    answer = plan(request)

    happened = await heard(request)

    for number, choice in enumerate(answer.choices):
        texts = [e for e in happened if isinstance(e, TextDelta) and e.choice == number]
        assert tuple(e.text for e in texts) == choice.pieces
        assert ChoiceFinished(number, StopReason.END) in happened
    assert sum(e.tokens for e in happened if isinstance(e, TextDelta)) == answer.usage.output
    assert happened[-1] == UsageReported(answer.usage)


async def test_the_tokens_of_calls_add_up_to_the_usage() -> None:
    request = ask("Weather in Paris and New York?", tools=[WEATHER])

    happened = await heard(request)

    counted = [e for e in happened if isinstance(e, ToolCallStarted | ToolCallDelta)]
    assert sum(e.tokens for e in counted) == plan(request).usage.output
    ids = [e.call_id for e in happened if isinstance(e, ToolCallStarted)]
    assert len(set(ids)) == 2
    assert all(each.startswith("call_") for each in ids)


async def test_a_long_answer_lets_others_work_between_batches() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await heard(ask("Write a long article about AI.", n=4))
    task.cancel()

    assert turns >= 8


async def test_tokens_leave_as_they_are_made() -> None:
    began = time.monotonic()
    arrivals = [
        (time.monotonic() - began, len(batch))
        async for batch in events(ask("Count from 1 to 10."), speed=Speed(0.05, 100))
    ]

    assert arrivals[0][0] >= 0.05
    assert arrivals[-1][0] >= 0.05 + 20 / 100
    assert max(count for _, count in arrivals) <= 12


async def test_the_slow_model_spreads_its_answer_over_two_seconds() -> None:
    began = time.monotonic()
    arrivals = [
        time.monotonic() - began async for _ in events(ask("Tell me a story", model="hacxgpt-slow"))
    ]

    assert arrivals[0] < 0.5
    assert 1.9 <= arrivals[-1] <= 3
    assert len(arrivals) > 20


async def test_the_faulty_model_breaks_off_after_some_output() -> None:
    texts: list[str] = []

    async def listen() -> None:
        async for batch in events(ask("Tell me a story", model="hacxgpt-faulty")):
            texts.extend(event.text for event in batch if isinstance(event, TextDelta))

    with pytest.raises(UpstreamError):
        await listen()

    whole = said("Tell me a story", model="hacxgpt-faulty")
    assert 0 < len("".join(texts)) < len(whole)
    assert whole.startswith("".join(texts))


async def test_the_provider_plans_at_opening_and_then_says_it() -> None:
    deployment = Deployment(1, "built-in", "simulator", "", None, 1, 1, 1, 1, "hacxgpt")
    request = ask("Tell me a story", n=9)

    upstream = await SimulatorProvider().open(request, deployment, max_output_tokens=4096)
    happened = [event async for batch in upstream.batches() for event in batch]
    await upstream.aclose()

    assert happened == await heard(request)


async def test_a_schema_without_a_value_is_refused_at_opening() -> None:
    deployment = Deployment(1, "built-in", "simulator", "", None, 1, 1, 1, 1, "hacxgpt")
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"$ref": "#/x"}}}

    with pytest.raises(BadRequestError):
        await SimulatorProvider().open(
            ask(response_format=schema), deployment, max_output_tokens=4096
        )


def test_a_rate_of_zero_in_the_settings_is_no_limit() -> None:
    assert Speed.from_settings(0, 0) == Speed(0.0, None)
    assert Speed.from_settings(250, 40) == Speed(0.25, 40)

"""The built-in model: a provider in process, deterministic, and no intelligence at all.

For trying, testing and load. ``hacxgpt-slow`` spreads every answer over two seconds,
``hacxgpt-faulty`` breaks off half-way: both are for tests only.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from gateway.catalog import Deployment
from gateway.chat import ChatRequest, StreamEvent
from gateway.providers.simulator.pacing import FULL_SPEED, Speed, events, paced
from gateway.providers.simulator.planning import (
    SimulatedAnswer,
    SimulatedCall,
    SimulatedChoice,
    add_up,
    plan,
    plan_choices,
)
from gateway.providers.simulator.vectors import EmbeddedUpstream

__all__ = [
    "FULL_SPEED",
    "SimulatedAnswer",
    "SimulatedCall",
    "SimulatedChoice",
    "SimulatorProvider",
    "Speed",
    "events",
    "plan",
]
_CHOICES_AT_A_STRETCH = 8


class SimulatedUpstream:
    """An answer that is planned and about to be said."""

    __slots__ = ("_answer", "_model", "_speed")
    speaks_events: Literal[True] = True

    def __init__(self, answer: SimulatedAnswer, speed: Speed, model: str) -> None:
        self._answer = answer
        self._speed = speed
        self._model = model

    def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """Yield events as they are made."""
        return paced(self._answer, self._speed, self._model)

    async def aclose(self) -> None:
        """Nothing works behind it."""


class SimulatorProvider:
    """Serves from this process; it speaks no wire of its own."""

    dialect = "none"

    def __init__(self, speed: Speed = FULL_SPEED) -> None:
        self._speed = speed

    async def open(
        self,
        request: ChatRequest,
        deployment: Deployment,
        *,
        max_output_tokens: int,  # the checked request carries its limit
    ) -> SimulatedUpstream | EmbeddedUpstream:
        """Plan the answer; the deployment's model names the pace, the caller's model the text.

        Raises:
            BadRequestError: a schema that no value satisfies, or none this simulator finds; more
                dimensions of a vector than there are.

        """
        if request.embed is not None:
            return EmbeddedUpstream(request, request.embed, self._speed)
        choices: list[SimulatedChoice] = []
        for choice in plan_choices(request):
            choices.append(choice)
            if len(choices) % _CHOICES_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        answer = add_up(request, tuple(choices))
        return SimulatedUpstream(answer, self._speed, deployment.upstream_model)

"""An answer on its way: its events in batches, at a speed.

As fast as possible there are no timers: a few hundred tokens, then the loop's other work.
At a rate, every token has its due time, reckoned from the start, so that delays do not add up.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from gateway.chat import (
    ChatRequest,
    ChoiceFinished,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from gateway.providers.simulator.odds import make_odds
from gateway.providers.simulator.planning import SimulatedAnswer, SimulatedChoice, plan
from kernel.errors import UpstreamError
from kernel.ids import random_base62

SLOW_MODEL = "hacxgpt-slow"
FAULTY_MODEL = "hacxgpt-faulty"
SLOW_ANSWER_S = 2.0
BATCH = 256
_SHORTEST_SLEEP_S = 0.002


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds to the first token, then tokens a second; None is as fast as possible."""

    first_token_s: float = 0.0
    tokens_per_s: float | None = None

    @classmethod
    def from_settings(cls, first_token_ms: float, tokens_per_s: float) -> Self:
        """Return the speed an operator has set; a rate of 0 is no limit."""
        return cls(first_token_ms / 1000, tokens_per_s or None)


FULL_SPEED = Speed()


async def events(
    request: ChatRequest, *, speed: Speed = FULL_SPEED
) -> AsyncIterator[list[StreamEvent]]:
    """Yield the answer to a request in batches.

    Raises:
        BadRequestError: see ``plan``.
        UpstreamError: from the model ``hacxgpt-faulty``, after half of its answer.

    """
    async for batch in paced(plan(request), speed, request.model):
        yield batch


async def paced(
    answer: SimulatedAnswer, speed: Speed, model: str
) -> AsyncIterator[list[StreamEvent]]:
    """Yield an answer's events when they are due; two models have a pace of their own."""
    moments = _moments(answer)
    if model == FAULTY_MODEL:
        moments = moments[: (len(moments) + 1) // 2]
    if model == SLOW_MODEL:
        speed = Speed(0.0, len(moments) / SLOW_ANSWER_S)
    if speed.first_token_s > 0:
        await asyncio.sleep(speed.first_token_s)
    rate = speed.tokens_per_s
    async for batch in _at_once(moments) if rate is None else _at_rate(moments, rate):
        yield batch
    if model == FAULTY_MODEL:
        raise UpstreamError("The model's provider broke off its answer.")
    yield [UsageReported(answer.usage)]


async def _at_once(moments: list[StreamEvent]) -> AsyncIterator[list[StreamEvent]]:
    for start in range(0, len(moments), BATCH):
        if start:
            await asyncio.sleep(0)
        yield moments[start : start + BATCH]


async def _at_rate(
    moments: list[StreamEvent], tokens_per_s: float
) -> AsyncIterator[list[StreamEvent]]:
    now = asyncio.get_running_loop().time
    began = now()
    sent = 0
    while sent < len(moments):
        due = min(int((now() - began) * tokens_per_s) + 1, len(moments))
        if due > sent:
            yield moments[sent:due]
            sent = due
        wait_s = began + sent / tokens_per_s - now()
        await asyncio.sleep(max(wait_s, _SHORTEST_SLEEP_S))


def _moments(answer: SimulatedAnswer) -> list[StreamEvent]:
    """Return the events one by one, choice after choice."""
    moments: list[StreamEvent] = []
    for number, choice in enumerate(answer.choices):
        if choice.thoughts:
            moments += [ThinkingDelta(number, piece, 1) for piece in choice.thoughts]
            moments.append(ThinkingEnded(number, _sign(choice.thoughts)))
        if answer.top_logprobs is None:
            moments += [TextDelta(number, piece, 1) for piece in choice.pieces]
        else:
            moments += _likely_moments(number, choice, answer.top_logprobs)
        if choice.calls:
            moments += _call_moments(number, choice, answer.call_prefix)
        moments.append(ChoiceFinished(number, choice.reason, choice.stop_sequence))
    return moments


def _likely_moments(number: int, choice: SimulatedChoice, top: int) -> list[StreamEvent]:
    return [
        TextDelta(number, piece, 1, (make_odds(piece, place, top),))
        for place, piece in enumerate(choice.pieces)
    ]


def _sign(thoughts: tuple[str, ...]) -> str:
    """Return the signature of thinking: a mark of the simulator's, which proves nothing."""
    digest = blake2b("".join(thoughts).encode("utf-8", "surrogatepass"), digest_size=24).digest()
    return base64.b64encode(digest).decode()


def _call_moments(number: int, choice: SimulatedChoice, prefix: str) -> list[StreamEvent]:
    moments: list[StreamEvent] = []
    for index, call in enumerate(choice.calls):
        call_id = prefix + random_base62(24)
        moments.append(ToolCallStarted(number, index, call_id, call.name, call.name_tokens))
        moments += [ToolCallDelta(number, index, piece, 1) for piece in call.arguments]
    return moments

"""Asking the simulator: through the OpenAI dialect, as a caller would."""

from typing import Any

from gateway.chat import ChatRequest, StreamEvent
from gateway.providers.simulator import FULL_SPEED, Speed, events, plan
from tests.gateway.dialects.asking import ask

__all__ = ["ask", "heard", "said"]


def said(text: str = "Tell me a story", **fields: Any) -> str:
    """Return the text of the first choice."""
    return "".join(plan(ask(text, **fields)).choices[0].pieces)


async def heard(request: ChatRequest, speed: Speed = FULL_SPEED) -> list[StreamEvent]:
    """Return all events of an answer."""
    return [event async for batch in events(request, speed=speed) for event in batch]

"""Chance that falls the same way for the same request, in every process and on every machine."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

from gateway.chat import ChatRequest

Side = TypeVar("Side")
_MASK = 2**64 - 1
_FIXED_SEED = 0


class Dice:
    """Knuth's 64-bit linear congruential generator; its upper bits are good enough for words."""

    __slots__ = ("_state",)

    def __init__(self, state: int) -> None:
        self._state = state & _MASK

    def roll(self, sides: int) -> int:
        """Return a number from 0 up to, not including, ``sides``."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 33) % sides

    def pick(self, sides: Sequence[Side]) -> Side:
        return sides[self.roll(len(sides))]


def fingerprint(request: ChatRequest) -> int:
    """Return the number a request's text hangs on.

    In it: model, messages, tools, format and seed. Not in it: stream, limits, stops, temperature.
    """
    words = [request.model, str(request.seed or _FIXED_SEED), request.tool_mode]
    for message in request.messages:
        words += (message.role, message.text, message.name or "")
        words += [f"{call.name} {call.arguments}" for call in message.tool_calls]
        words += [media.url for media in message.media]
    words += [tool.definition for tool in request.tools]
    words += (request.response_format.kind, request.response_format.definition)
    text = "\x1f".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")

"""Vectors without meaning: equal texts have equal ones, and all have length 1.

A text's numbers are drawn from its hash. Fewer dimensions are the first of them, brought to length
1 again, as models whose vectors can be shortened do it.
"""

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Sequence
from hashlib import shake_256
from typing import Literal

from billing.usage import Usage
from gateway.chat import ChatRequest, Embed, Embedded, StreamEvent, UsageReported
from gateway.providers.simulator.pacing import Speed
from gateway.tokenizer import count_prompt
from kernel.errors import BadRequestError

DIMENSIONS = 1_536
_AT_A_STRETCH = 16


def check_dimensions(embed: Embed) -> int:
    """Return how many dimensions are wanted.

    Raises:
        BadRequestError: more than there are.

    """
    wanted = embed.dimensions or DIMENSIONS
    if wanted > DIMENSIONS:
        raise BadRequestError(
            f"This model's embeddings have at most {DIMENSIONS} dimensions.",
            param="dimensions",
            code="integer_above_max_value",
        )
    return wanted


class EmbeddedUpstream:
    """The vectors of a request, about to be made."""

    __slots__ = ("_dimensions", "_embed", "_first_token_s", "_usage")
    speaks_events: Literal[True] = True

    def __init__(self, request: ChatRequest, embed: Embed, speed: Speed) -> None:
        """Take a request.

        Raises:
            BadRequestError: more dimensions than there are.

        """
        self._embed = embed
        self._dimensions = check_dimensions(embed)
        self._usage = Usage(embedding=count_prompt(request), request=1)
        self._first_token_s = speed.first_token_s

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """Yield the vectors, some at a time so that other work gets its turn, and the usage."""
        inputs = self._embed.inputs
        await asyncio.sleep(self._first_token_s)
        for start in range(0, len(inputs), _AT_A_STRETCH):
            await asyncio.sleep(0)
            yield [
                Embedded(start + place, make_vector(text, self._dimensions))
                for place, text in enumerate(inputs[start : start + _AT_A_STRETCH])
            ]
        yield [UsageReported(self._usage)]

    async def aclose(self) -> None:
        """Nothing works behind it."""


def make_vector(text: str | tuple[int, ...], dimensions: int) -> bytes:
    """Return the vector of a text, or of token numbers, as little-endian float32."""
    if isinstance(text, str):
        seed = b"text\x00" + text.encode("utf-8", "surrogatepass")
    else:
        seed = b"tokens\x00" + struct.pack(f"<{len(text)}I", *text)
    # odd numbers: none is 0, so that even one dimension has a length
    drawn = [
        number | 1
        for number in struct.unpack(f"<{dimensions}h", shake_256(seed).digest(2 * dimensions))
    ]
    length = math.sqrt(sum(number * number for number in drawn))
    return struct.pack(f"<{dimensions}f", *(number / length for number in drawn))

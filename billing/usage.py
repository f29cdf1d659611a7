"""Usage in disjoint buckets: what a call consumed, in one form for every dialect.

OpenAI's ``prompt_tokens`` contain cached tokens and its ``completion_tokens`` contain reasoning
tokens; Anthropic's ``input_tokens`` exclude cache reads and writes. Dialects convert at the edge;
inside the platform a token is in exactly one bucket.
"""

from enum import StrEnum
from typing import NamedTuple


class Evidence(StrEnum):
    """Where the figures come from. Never silently zero."""

    PROVIDER = "provider"
    COUNTED = "counted"
    ESTIMATED = "estimated"


class Usage(NamedTuple):
    """Non-negative counts by bucket: tokens, except for ``image`` and ``request``."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    image: int = 0
    audio_input: int = 0
    audio_output: int = 0
    embedding: int = 0
    request: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Everything the model read, OpenAI's ``prompt_tokens``."""
        return self.input + self.cached_input + self.cache_write + self.audio_input + self.embedding

    @property
    def completion_tokens(self) -> int:
        """Everything the model wrote, OpenAI's ``completion_tokens``."""
        return self.output + self.reasoning + self.audio_output

    def as_dict(self) -> dict[str, int]:
        """Return the buckets that are not zero."""
        return {name: value for name, value in zip(BUCKETS, self, strict=True) if value}


NO_USAGE = Usage()
SHRUNK = Usage(output=-1)
BUCKETS: tuple[str, ...] = Usage._fields


def follow(before: Usage | None, after: Usage | None) -> Usage | None:
    """Return the figures that stand once a provider has said ``after`` on top of ``before``.

    What a provider counts grows while it writes. Figures of it that shrink are ``SHRUNK``, which
    nobody believes, and so is what it says after them.
    """
    if after is None or before is SHRUNK:
        return before
    if before is not None and after.completion_tokens < before.completion_tokens:
        return SHRUNK
    return after

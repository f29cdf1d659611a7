"""Where a prompt may be kept for the next call, as callers of OpenAI's dialect mark it.

They put ``cache_control`` beside a part or a tool, as OpenRouter and LiteLLM have it. Here a mark
stands at the end of its message, and is good for five minutes: writing for longer costs more than
the price knows.
"""

from collections.abc import Iterable
from typing import Any

MOST_MARKS = 4
Block = dict[str, Any]


def mark_end(blocks: list[Block], *, ends_cache: bool) -> None:
    """Mark the last of a message's blocks."""
    if ends_cache and blocks:
        blocks[-1]["cache_control"] = {"type": "ephemeral"}


def thin_out(*groups: Iterable[Block]) -> None:
    """Leave the last four marks, which cover what stands before them: no more are taken."""
    marked = [block for group in groups for block in group if "cache_control" in block]
    for block in marked[:-MOST_MARKS]:
        del block["cache_control"]

"""Stop sequences: where a text has to end. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundStop:
    """A stop sequence in a text: where it starts, and which it is."""

    start: int
    text: str


def find_stop(text: str, stops: Sequence[str]) -> FoundStop | None:
    """Return the stop to cut at, so that what is left contains none.

    It is the one that is complete first, the longest where several are.
    """
    ends = [(start + len(stop), start, stop) for stop in stops if (start := text.find(stop)) >= 0]
    if not ends:
        return None
    _, start, stop = min(ends)
    return FoundStop(start, stop)

"""Stop sequences: where a text has to end, known at once or while it comes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.chat import ChoiceFinished, StopReason, StreamEvent, TextDelta
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError


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


class StopCutter:
    """Cuts one choice at the first stop sequence, for upstreams that were not told of it.

    What may be the beginning of one is held back until it is clear.
    """

    def __init__(self, stops: Sequence[str], choice: int = 0) -> None:
        self.is_cut = False
        self.fault: TollgateError | None = None
        self._choice = choice
        self._stops = stops
        self._firsts = frozenset(stop[0] for stop in stops)
        self._most = max(map(len, stops)) - 1
        self._held = ""

    def feed(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        """Return what of the events may be said now; nothing after the cut."""
        said: list[StreamEvent] = []
        for event in events:
            if self.is_cut:
                break
            if isinstance(event, TextDelta):
                self._add(event, said)
            else:
                self._say(self._held, said)
                self._held = ""
                said.append(event)
        return said

    def _add(self, event: TextDelta, said: list[StreamEvent]) -> None:
        text = self._held + event.text
        stop = find_stop(text, self._stops)
        if stop is not None:
            self.is_cut = True
            self._say(text[: stop.start], said)
            said.append(ChoiceFinished(self._choice, StopReason.STOP_SEQUENCE, stop.text))
            return
        clear = self._clear_until(text)
        self._held = text[clear:]
        self._say(text[:clear], said)

    def _clear_until(self, text: str) -> int:
        for place in range(max(0, len(text) - self._most), len(text)):
            if text[place] in self._firsts:
                rest = text[place:]
                if any(stop.startswith(rest) for stop in self._stops):
                    return place
        return len(text)

    def _say(self, text: str, said: list[StreamEvent]) -> None:
        if text:
            said.append(TextDelta(self._choice, text, count_tokens(text)))

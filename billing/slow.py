"""Closings that took the database too long all by themselves, apart from those that do not.

1. A batch that runs into the statement timeout is rolled back, and the writer sends half as many
   at once until they go through. One that takes too long alone comes here.
2. Each is tried by itself, with nobody waiting behind it for a hold: a second later, then after
   twice as long each time, up to half a minute. When one goes through, the next is due at once.
3. None is given up or put into quarantine, since a slow or locked server says nothing against a
   settlement. Meanwhile the journal owes it, and recount I7 names its hold when its time is over.
"""

from collections import deque
from dataclasses import dataclass, field

from billing.holds import Closing
from kernel import clock

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class SlowClosings:
    """A queue of the writer's own, empty nearly always."""

    due_at_s: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _tried: str = ""
    _waiting: deque[Closing] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def are_due(self) -> bool:
        return bool(self._waiting) and clock.monotonic() >= self.due_at_s

    def add(self, closing: Closing) -> None:
        """Keep a closing that took too long, for the first time or again."""
        is_again = closing.request_id == self._tried
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if is_again else FIRST_PAUSE_S
        self.due_at_s = clock.monotonic() + self._pause_s
        self._waiting.append(closing)

    def take(self) -> Closing:
        """Return the next one to be tried."""
        closing = self._waiting.popleft()
        self._tried = closing.request_id
        return closing

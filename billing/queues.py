"""What waits for the writer, and which of it goes next.

1. Callers wait for holds and extensions, and nobody for a settlement. So settlements go along only
   once they have waited for a moment, or are many, and then all of them: those of one organization
   share a transaction of the ledger. What is refused while some wait is asked again with them,
   since they may free what it needs.
2. A batch has ``FEW`` holds, as a rule: the process has the other calls to go on with while the
   database works. All of them in one batch would leave one of the two idle at any time. Of a long
   queue half goes, up to ``BATCH``: then it is the database that is behind, and the larger a batch
   the less it takes for each.
3. After a batch that took too long, half as many settlements go, by themselves and by turns with
   holds, then twice as many each time they go through. One that takes too long alone is tried again
   apart from all (``slow.py``).
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from billing.batch import Batch, HoldAnswer
from billing.holds import Act, Closing, Extension, HoldRequest, Refusal
from billing.slow import SlowClosings
from billing.tick import TickAnswer
from kernel import clock

BATCH = 256
FEW = 24
LINGER_S = 0.025


class Queues:
    """The queues of one writer."""

    def __init__(self) -> None:
        self._closings: deque[Closing] = deque()
        self._extensions: deque[tuple[Extension, asyncio.Future[bool]]] = deque()
        self._holds: deque[tuple[HoldRequest, HoldAnswer]] = deque()
        self._slow = SlowClosings()
        self._most_closings = BATCH
        self._goes_alone = False
        self._closing_since = 0.0
        self._settles_next = False

    def add_hold(self, request: HoldRequest, answer: HoldAnswer) -> None:
        self._holds.append((request, answer))

    def add_extension(self, extension: Extension, answer: asyncio.Future[bool]) -> None:
        self._extensions.append((extension, answer))

    def add_closings(self, closings: Iterable[Closing]) -> None:
        """Queue closings; they wait for company from the first of them on."""
        if not self._closings:
            self._closing_since = clock.monotonic()
        self._closings.extend(closings)

    @property
    def backlog(self) -> int:
        """How many closings wait to be committed."""
        return len(self._closings) + len(self._slow)

    @property
    def awaited(self) -> int:
        """How many holds and extensions somebody waits for."""
        return len(self._extensions) + len(self._holds)

    @property
    def due(self) -> int:
        """How much there is to be done now, or after a moment's company."""
        return len(self._closings) + self._slow.are_due + self.awaited

    @property
    def are_many_closings(self) -> bool:
        """Tell whether settlements are enough to go without waiting."""
        return len(self._closings) >= BATCH

    def closings_due_in_s(self) -> float:
        """Return in how many seconds settlements have waited long enough; 0 for now."""
        if self.are_many_closings or self._settles_next:
            return 0.0
        return max(0.0, self._closing_since + LINGER_S - clock.monotonic())

    def rest_s(self, most_s: float) -> float:
        """Return how long nothing is due where nothing is queued."""
        if not len(self._slow):
            return most_s
        return min(most_s, max(0.0, self._slow.due_at_s - clock.monotonic()))

    def take(self) -> Batch:
        """Return what goes next; may be empty, where callers have left."""
        if self._slow.are_due:
            return Batch(closings=[self._slow.take()])
        is_wary = self._most_closings < BATCH and bool(self._closings)
        self._goes_alone = is_wary and not (self._goes_alone and self.awaited)
        if self._goes_alone:
            return Batch(closings=self._take_closings())
        batch = Batch()
        batch.leaves_closings = bool(self._closings) and (is_wary or self.closings_due_in_s() > 0)
        self._settles_next = False
        if not batch.leaves_closings:
            batch.closings = self._take_closings()
        while self._extensions and len(batch.extensions) < BATCH:
            batch.extensions.append(self._extensions.popleft())
        self._take_holds(batch)
        return batch

    def _take_holds(self, batch: Batch) -> None:
        most = min(BATCH, max(FEW, len(self._holds) // 2))
        seen = {closing.request_id for closing in batch.closings}
        while self._holds and len(batch.holds) < most:
            request, answer = self._holds.popleft()
            if answer.done():
                continue
            batch.holds.append((request, answer))
            if request.instead_of is not None and request.instead_of not in seen:
                seen.add(request.instead_of)
                batch.closings.append(Closing(request.instead_of, Act.RELEASE))

    def _take_closings(self) -> list[Closing]:
        taken: dict[str, Closing] = {}
        while self._closings and len(taken) < self._most_closings:
            closing = self._closings.popleft()
            taken.setdefault(closing.request_id, closing)
        return list(taken.values())

    def answer(self, batch: Batch, answer: TickAnswer) -> list[str]:
        """Tell who waits for a committed batch; return the holds that are refused for good.

        What was refused while settlements waited is queued before all others, and those go along. A
        hold that nobody waits for any more is released.
        """
        refused: list[str] = []
        asked_again: list[tuple[HoldRequest, HoldAnswer]] = []
        for request, waiting in batch.holds:
            refusal = answer.held.get(request.request_id, Refusal("lost", {}))
            if refusal is not None and batch.leaves_closings:
                asked_again.append((request, waiting))
                continue
            if refusal is not None:
                refused.append(request.request_id)
            if not waiting.done():
                waiting.set_result(refusal)
            elif refusal is None:
                self.add_closings([Closing(request.request_id, Act.RELEASE)])
        self._holds.extendleft(reversed(asked_again))
        self._settles_next = self._settles_next or bool(asked_again)
        self._answer_extensions(batch, answer)
        return refused

    def _answer_extensions(self, batch: Batch, answer: TickAnswer) -> None:
        asked_again = []
        for extension, room in batch.extensions:
            is_granted = answer.extended.get(extension.request_id, False)
            if not is_granted and batch.leaves_closings:
                asked_again.append((extension, room))
            elif not room.done():
                room.set_result(is_granted)
        self._extensions.extendleft(reversed(asked_again))
        self._settles_next = self._settles_next or bool(asked_again)

    def take_back(self, closings: Sequence[Closing]) -> None:
        """Queue closings of a lost batch, before all others."""
        self._closings.extendleft(reversed(closings))

    def put_back(self, closings: Sequence[Closing]) -> None:
        """Queue what could not be written, to be tried again after a moment."""
        if closings:
            self._closings.extend(closings)
            self._closing_since = clock.monotonic()

    def ask_for_less(self, batch: Batch) -> None:
        """Queue the closings of a batch that took too long and was rolled back."""
        if not batch.closings:
            return
        if len(batch) == 1:
            self._slow.add(batch.closings[0])
            return
        self._most_closings = max(1, len(batch.closings) // 2)
        self.take_back(batch.closings)

    def went_through(self, batch: Batch) -> None:
        """Let more settlements go at once, up to all of them."""
        if batch.closings:
            self._most_closings = min(BATCH, 2 * self._most_closings)

    def refuse_holds(self) -> None:
        """Answer whoever waits for a hold that cannot be asked for."""
        while self._holds:
            _, waiting = self._holds.popleft()
            if not waiting.done():
                waiting.set_result(Refusal("unavailable", {}))

"""What one transaction of the writer carries: settlements, extensions, holds, and who waits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from billing.holds import Closing, Extension, HoldRequest, Refusal
from kernel import failpoints

HoldAnswer = asyncio.Future[Refusal | None]


@dataclass(slots=True)
class Batch:
    """``leaves_closings`` tells that settlements wait which could have gone along."""

    closings: list[Closing] = field(default_factory=list)
    extensions: list[tuple[Extension, asyncio.Future[bool]]] = field(default_factory=list)
    holds: list[tuple[HoldRequest, HoldAnswer]] = field(default_factory=list)
    leaves_closings: bool = False

    def __len__(self) -> int:
        return len(self.closings) + len(self.extensions) + len(self.holds)


def halves(batch: Batch) -> Sequence[Batch]:
    """Part a batch of two or more, to find a record that is refused."""
    is_left = batch.leaves_closings
    parts = (Batch(leaves_closings=is_left), Batch(leaves_closings=is_left))
    for position, closing in enumerate(batch.closings):
        parts[2 * position >= len(batch.closings)].closings.append(closing)
    for position, extension in enumerate(batch.extensions):
        parts[2 * position >= len(batch.extensions)].extensions.append(extension)
    for position, hold in enumerate(batch.holds):
        parts[2 * position >= len(batch.holds)].holds.append(hold)
    if not (len(parts[0]) and len(parts[1])):
        # one of each kind fell on the same side: part the kinds
        return (
            Batch(closings=batch.closings),
            Batch(extensions=batch.extensions, holds=batch.holds, leaves_closings=is_left),
        )
    return parts


def reach_failpoints(batch: Batch) -> None:
    """Nobody knows of the commit yet: neither those who wait for it, nor the journal."""
    if batch.holds:
        failpoints.reach("after_hold_commit")
    if batch.extensions:
        failpoints.reach("after_extend_commit")
    if batch.closings:
        failpoints.reach("after_settle_commit")


def refuse_all(batch: Batch) -> None:
    """Answer whoever waits for a batch that did not go through."""
    refuse_holds(batch, Refusal("unavailable", {}))
    for _, room in batch.extensions:
        if not room.done():
            room.set_result(False)


def refuse_holds(batch: Batch, refusal: Refusal) -> None:
    """Answer whoever waits for a hold of a batch."""
    for _, waiting in batch.holds:
        if not waiting.done():
            waiting.set_result(refusal)

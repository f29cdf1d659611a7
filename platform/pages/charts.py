"""Charts drawn on the server, in whole numbers. Pure.

A chart is a value; ``templates/pages/bars.html`` draws it as SVG beside a table that says the same.
Bars fill a box of 1,000 by 1,000 units that the style sheet stretches to its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kernel.money import render_usd

SIDE = 1000
GAP_SHARE = 4  # a quarter of each bar's slot stays empty
GRID_LINES = 4


@dataclass(frozen=True, slots=True)
class Point:
    """One bar's worth: its name on the axis, its amount, and what the table says beside it."""

    label: str
    amount_nanos: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    point: Point
    slot_x: int
    slot_width: int
    x: int
    y: int
    width: int
    height: int
    is_last: bool
    has_label: bool


@dataclass(frozen=True, slots=True)
class Tick:
    y: int
    text: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """``ticks`` run from the top line to zero."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    side: int = SIDE


def draw_bars(points: Sequence[Point], *, label_every: int) -> BarChart:
    """Lay out one bar a point; labels count back from the last one."""
    step = nice_step(max((point.amount_nanos for point in points), default=0))
    top = step * GRID_LINES
    return BarChart(
        bars=tuple(_bar(points, place, top, label_every) for place in range(len(points))),
        ticks=tuple(
            Tick(SIDE * (GRID_LINES - line) // GRID_LINES, f"${render_usd(step * line, places=2)}")
            for line in range(GRID_LINES, -1, -1)
        ),
    )


def nice_step(most_nanos: int) -> int:
    """Return the least 1, 2 or 5 times a power of ten, from a cent up, of which four reach it."""
    step = 10_000_000
    while True:
        for factor in (1, 2, 5):
            if step * factor * GRID_LINES >= most_nanos:
                return step * factor
        step *= 10


def _bar(points: Sequence[Point], place: int, top: int, label_every: int) -> Bar:
    left, right = SIDE * place // len(points), SIDE * (place + 1) // len(points)
    gap = (right - left) // GAP_SHARE
    amount = points[place].amount_nanos
    height = max(SIDE * amount // top, 8) if amount else 0  # the least spend is still seen
    return Bar(
        point=points[place],
        slot_x=left,
        slot_width=right - left,
        x=left + gap // 2,
        y=SIDE - height,
        width=right - left - gap,
        height=height,
        is_last=place == len(points) - 1,
        has_label=(len(points) - 1 - place) % label_every == 0,
    )


def share(part: int, whole: int, *, least: int = 1) -> int:
    """Return a part's length in a bar of ``SIDE`` units: 0 only for nothing, ``SIDE`` at most."""
    if part <= 0 or whole <= 0:
        return 0
    return min(max(SIDE * part // whole, least), SIDE)

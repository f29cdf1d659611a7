"""Charts in whole numbers."""

from itertools import pairwise

import pytest

from pages.charts import SIDE, Point, draw_bars, nice_step, share
from pages.templatetags import tollgate

CENT = 10_000_000


@pytest.mark.parametrize(
    ("most_nanos", "step"),
    [
        (0, CENT),
        (1, CENT),
        (4 * CENT, CENT),
        (4 * CENT + 1, 2 * CENT),
        (9 * CENT, 5 * CENT),
        (1_600_000_000, 500_000_000),
        (2_000_000_001, 1_000_000_000),
        (9_223_372_036_854_775_807, 5_000_000_000_000_000_000),
    ],
)
def test_the_scale_is_the_least_round_step_that_holds_the_highest_bar(
    most_nanos: int, step: int
) -> None:
    assert nice_step(most_nanos) == step


def test_bars_stand_on_the_zero_line_and_the_least_spend_is_still_seen() -> None:
    chart = draw_bars([Point("a", 0), Point("b", 1), Point("c", 4 * CENT)], label_every=2)

    assert [bar.height for bar in chart.bars] == [0, 8, SIDE]
    assert all(bar.y + bar.height == SIDE for bar in chart.bars)
    assert [bar.has_label for bar in chart.bars] == [True, False, True]
    assert [tick.text for tick in chart.ticks] == ["$0.04", "$0.03", "$0.02", "$0.01", "$0.00"]
    assert [tick.y for tick in chart.ticks] == [0, 250, 500, 750, 1000]


def test_thirty_bars_fill_the_box_without_overlap() -> None:
    bars = draw_bars([Point("", 1)] * 30, label_every=7).bars

    assert bars[0].slot_x == 0
    assert bars[-1].slot_x + bars[-1].slot_width == SIDE
    assert all(a.x + a.width <= b.x for a, b in pairwise(bars))


def test_a_share_is_nothing_only_for_nothing_and_never_more_than_all() -> None:
    assert share(0, 10) == 0
    assert share(1, 10**12) == 1
    assert share(1, 10**12, least=8) == 8
    assert share(20, 10) == SIDE
    assert share(5, 0) == 0


def test_amounts_are_written_for_people_and_exactly() -> None:
    assert tollgate.usd(1_234_500_000_000) == "$1,234.50"
    assert tollgate.usd(123_456) == "$0.000123"
    assert tollgate.usd(-2_500_000_000) == "\N{MINUS SIGN}$2.50"
    assert tollgate.usd_exact(123_456) == "$0.000123456"


def test_durations_and_counts_are_short() -> None:
    assert tollgate.duration(999) == "999 ms"
    assert tollgate.duration(4_190) == "4.1 s"
    assert tollgate.duration(None) == "\N{EN DASH}"
    assert tollgate.count(1_234_567) == "1,234,567"

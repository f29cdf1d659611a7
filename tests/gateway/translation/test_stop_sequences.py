"""Stop sequences that are cut here, for servers that were not told of them."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.chat import (
    ChoiceFinished,
    StopReason,
    TextDelta,
)
from gateway.providers.stops import StopCutter, find_stop

TEXT = st.text(alphabet="ab\n ", max_size=40)


@given(
    st.lists(TEXT, max_size=10),
    st.lists(st.text(alphabet="ab\n ", min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_stop_sequences_cut_at_the_same_place_however_the_text_comes(
    pieces: list[str], stops: list[str]
) -> None:
    cutter = StopCutter(stops)
    events = []
    for piece in pieces:
        events += cutter.feed([TextDelta(0, piece, 1)])
    events += cutter.feed([ChoiceFinished(0, StopReason.END)])

    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    found = first_complete("".join(pieces), stops)
    assert cutter.is_cut is (found is not None)
    assert text == ("".join(pieces) if found is None else "".join(pieces)[:found])
    assert isinstance(events[-1], ChoiceFinished)


def first_complete(text: str, stops: Sequence[str]) -> int | None:
    found = find_stop(text, stops)
    return None if found is None else found.start

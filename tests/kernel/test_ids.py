"""Identifiers: their form, their order, and that they do not repeat."""

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import ALPHABET, base62, new_id, new_request_id, random_base62


def from_base62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + ALPHABET.index(character)
    return number


@given(st.integers(0, 62**24), st.integers(0, 30))
def test_base62_keeps_the_number_and_at_least_the_width(number: int, width: int) -> None:
    text = base62(number, width)

    assert from_base62(text) == number
    assert len(text) >= width


@given(st.integers(0, 62**8 - 2))
def test_base62_of_one_width_sorts_as_the_numbers_do(number: int) -> None:
    assert base62(number, 8) < base62(number + 1, 8)


def test_the_alphabet_is_that_of_base62_in_byte_order() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 62
    assert "".join(sorted(ALPHABET)) == ALPHABET


def test_a_request_id_is_as_long_as_the_contract_asks_and_never_the_same() -> None:
    ids = [new_request_id() for _ in range(5_000)]

    assert all(re.fullmatch(r"req_[0-9A-Za-z]{24}", one) for one in ids)
    assert len(set(ids)) == len(ids)


def test_request_ids_begin_with_the_time_so_that_later_ones_sort_later() -> None:
    times = [new_request_id()[4:12] for _ in range(500)]

    assert times == sorted(times)


def test_a_row_id_has_its_prefix_and_twelve_characters() -> None:
    assert re.fullmatch(r"org_[0-9A-Za-z]{12}", new_id("org"))


def test_random_characters_use_the_whole_alphabet_evenly() -> None:
    counts = Counter("".join(random_base62(32) for _ in range(2_000)))

    assert set(counts) == set(ALPHABET)
    assert min(counts.values()) > 64_000 // 62 // 2
    assert max(counts.values()) < 64_000 // 62 * 2

"""What operators type: durations and counts; what they read: rows."""

import json
from datetime import timedelta

import pytest

from kernel.cli import parse_count, parse_duration, print_row, print_rows
from kernel.errors import BadRequestError


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "0s", "5", "h", "-1h", "1.5h", " 2h", "2h\n", "２h", "1w"])
def test_any_other_duration_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("007", 7), ("1000000000", 10**9)])
def test_a_count_is_a_whole_number_from_one_to_a_billion(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "1_000", " 7", "7\n", "１２", "1e3", "1000000001", "True"]
)
def test_any_other_count_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="is not a whole number"):
        parse_count(text)


def test_rows_are_a_table_or_json_or_none() -> None:
    rows: list[dict[str, object]] = [{"id": "a", "of": ["x", "y"]}, {"id": "bcd", "of": None}]
    written: list[str] = []

    print_rows(rows, as_json=False, write=written.append)
    print_rows([], as_json=False, write=written.append)
    print_rows(rows, as_json=True, write=written.append)

    assert written[:4] == ["id   of\n", "a    x,y\n", "bcd  -\n", "(none)\n"]
    assert json.loads(written[4]) == rows


def test_a_row_is_lines_or_json() -> None:
    written: list[str] = []

    print_row({"id": "a", "limit": None, "of": []}, as_json=False, write=written.append)
    print_row({"id": "a"}, as_json=True, write=written.append)

    assert written == ["id: a\n", "limit: -\n", "of: -\n", '{\n  "id": "a"\n}\n']

"""docs/promises.md and docs/contract/ name tests for what they promise: every one is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, parse

PROMISES = ROOT / "docs" / "promises.md"
CONTRACT = sorted((ROOT / "docs" / "contract").glob("*.md"))
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
COLUMNS = ["Promise", "Shown by", "Falls short"]


@pytest.mark.parametrize(
    ("page", "least"),
    [(PROMISES, 61), *((page, 5) for page in CONTRACT)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_test_that_a_promise_names_exists(page: Path, least: int) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in _tests_in(path)
    ]

    assert len(named) >= least
    assert missing == []


@pytest.mark.parametrize("page", CONTRACT, ids=lambda page: page.name)
def test_every_sentence_of_the_contract_has_a_test_or_says_why_not(page: Path) -> None:
    rows = _rows(page)
    shown_by_nothing = [
        promise for promise, shown_by, lacks in rows if not (NAMED.search(shown_by) or lacks)
    ]

    assert len(CONTRACT) == 11
    assert rows
    assert shown_by_nothing == []


def test_every_fault_of_the_catalogue_has_its_row_and_every_row_a_test() -> None:
    rows = {
        match[1]: "::test_" in match[0]
        for match in re.finditer(
            r"^\| (F\d+) \|.*$", PROMISES.read_text(encoding="utf-8"), re.MULTILINE
        )
    }

    assert list(rows) == [f"F{number}" for number in range(1, 24)]
    assert all(rows.values())


def _rows(page: Path) -> list[list[str]]:
    """Return the cells of every table's rows, each of which has the three columns."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    assert all(len(row) == len(COLUMNS) for row in rows)
    return [row for row in rows if row != COLUMNS and set(row[0]) != {"-"}]


def _tests_in(path: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(parse(ROOT / path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

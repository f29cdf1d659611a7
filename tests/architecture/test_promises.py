"""docs/promises.md names a test for each promise: every test it names is there."""

import ast
import re

from tests.architecture.tree import ROOT, parse

PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PROMISES)


def test_every_test_that_a_promise_names_exists() -> None:
    missing = [
        f"{path}::{name}"
        for path, name in NAMED
        if not (ROOT / path).is_file() or name not in _tests_in(path)
    ]

    assert len(NAMED) > 60
    assert missing == []


def test_every_fault_of_the_catalogue_has_its_row_and_every_row_a_test() -> None:
    rows = {
        match[1]: "::test_" in match[0]
        for match in re.finditer(r"^\| (F\d+) \|.*$", PROMISES, re.MULTILINE)
    }

    assert list(rows) == [f"F{number}" for number in range(1, 24)]
    assert all(rows.values())


def _tests_in(path: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(parse(ROOT / path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

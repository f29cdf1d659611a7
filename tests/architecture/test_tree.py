"""Rules about files: where they lie, how long they are, what must not stand in them."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement

from tests.architecture.tree import PACKAGES, ROOT, name_of, parse, sources, tracked_files

MOST_FILE_LINES = 500
MOST_FUNCTION_LINES = 50
BINARY = {".png", ".jpg", ".ico", ".woff2", ".pdf", ".pyc"}
# Longer than 500 lines, with a reason each. Empty, and meant to stay so.
LONG_FILES: frozenset[str] = frozenset()
# The product's lock, and that of the clients its tests call with.
LOCKED = pytest.mark.parametrize("folder", [".", "tests/compat/clients"])


def test_the_platform_folder_is_a_shelf_and_hides_nothing() -> None:
    shelf = ROOT / "platform"

    assert not (shelf / "__init__.py").exists()
    assert [path.name for path in shelf.glob("*.py")] == []
    said = subprocess.run(
        [sys.executable, "-c", "import platform, sys; sys.exit(not platform.system())"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{shelf}"},
        check=False,
    )
    assert said.returncode == 0


def test_no_file_is_longer_than_500_lines() -> None:
    long = {
        name_of(path)
        for path in [*sources(*PACKAGES, "tests"), *sources("billing", "gateway", suffix=".sql")]
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_FILE_LINES
    }

    assert long == LONG_FILES


def test_no_function_is_longer_than_50_lines() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_FUNCTION_LINES
    ]

    assert long == []


def test_no_tracked_file_names_this_machine_or_a_package_registry() -> None:
    somebodys_folder = rf"{re.escape(str(ROOT))}/|/(?:home|Users)/[a-z]\w*/"
    registry = "index" + r"-url|https?://[^ \"']*/simple\b|\"resolved\": *\"http"
    forbidden = re.compile(f"{somebodys_folder}|{registry}")

    named = [
        f"{name_of(path)}:{number}"
        for path in tracked_files()
        if path.suffix not in BINARY and path.name != "requirements.lock"  # has its own rule
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if forbidden.search(line)
    ]

    assert named == []


@LOCKED
def test_the_lock_pins_every_package_by_hash_and_names_no_address(folder: str) -> None:
    lock = (ROOT / folder / "requirements.lock").read_text()
    hashes = r"((?:\n    --hash=sha256:[0-9a-f]{64}.*)*)"
    pinned = re.findall(rf"^([a-z0-9][\w.-]*)==\S+.*{hashes}", lock, re.MULTILINE)

    assert len(pinned) > 100
    assert [name for name, found in pinned if not found] == []
    assert "://" not in lock


@LOCKED
def test_the_lock_has_every_package_that_is_asked_for(folder: str) -> None:
    lock = (ROOT / folder / "requirements.lock").read_text()
    locked = {_normal(name) for name in re.findall(r"^([A-Za-z0-9][\w.-]*)==", lock, re.MULTILINE)}
    asked = [
        _normal(re.split(r"[\[<>=~ ]", line)[0])
        for line in (ROOT / folder / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert [name for name in asked if name not in locked] == []


def test_the_lock_leaves_nothing_out_that_its_packages_need() -> None:
    """What is locked is installed as it stands, without looking for what else may be needed."""
    installed = {_normal(each.name): each for each in distributions()}
    needed = [
        (name, Requirement(text))
        for name, each in installed.items()
        for text in each.requires or ()
    ]

    unmet = [
        f"{name} needs {need}"
        for name, need in needed
        if (need.marker is None or need.marker.evaluate({"extra": ""}))
        and not (
            (found := installed.get(_normal(need.name)))
            and need.specifier.contains(found.version, prereleases=True)
        )
    ]

    assert unmet == []


def test_nothing_that_a_tool_made_is_tracked() -> None:
    made = re.compile(
        r"(^|/)(__pycache__|\.venv[a-z-]*|node_modules|\.data|\.hypothesis|\.[a-z]+_cache)/|\.pyc$"
    )

    assert [name_of(path) for path in tracked_files() if made.search(name_of(path))] == []


@LOCKED
def test_the_lock_names_no_address_or_path(folder: str) -> None:
    lock = (ROOT / folder / "requirements.lock").read_text()

    assert re.findall(r"://| /[A-Za-z]", lock) == []


def test_python_3_11_is_what_is_declared_linted_and_typed_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert project["tool"]["mypy"]["python_version"] == "3.11"


def test_decision_records_are_numbered_titled_and_short() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))

    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for number, path in enumerate(records, 1):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith(f"# {number}. "), path.name
        assert len(lines) <= 30, path.name


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

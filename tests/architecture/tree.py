"""The tree as the rules see it: our packages' files, and what is tracked."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "accounts",
    "billing",
    "gateway",
    "platform/config",
    "platform/kernel",
    "platform/pages",
    "platform/stack",
)
NOT_OURS = {"migrations", "node_modules"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every file under version control that is still there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def sources(*folders: str, suffix: str = ".py") -> Iterator[Path]:
    """Yield our own files below the folders: no generated migrations, no installed packages."""
    for folder in folders:
        found = sorted((ROOT / folder).rglob(f"*{suffix}"))
        assert found or suffix != ".py", f"{folder} is empty: the rule would check nothing"
        yield from (path for path in found if NOT_OURS.isdisjoint(path.parts))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))

"""``./tollgate`` itself: which Python it takes, how it makes .venv, and what it runs."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stack.machine import ROOT

TOOLS = ("sh", "cat", "cksum", "dirname", "readlink", "rm", "tail", "mkdir", "chmod", "sleep")
SAYS_ITS_ARGUMENTS = f"""#!/bin/sh
case $1 in
    -V) exec {sys.executable} -V ;;
    *) printf '%s\\n' "$PYTHONPATH" "$PWD" "$*" ;;
esac
"""
# Stands for uv: "venv … <folder>" makes an environment, "pip install …" fills it.
UV = f"""#!/bin/sh
echo "$*" >>"$CALLS"
case $1 in
    venv)
        for venv in "$@"; do :; done
        mkdir -p "$venv/bin"
        cat >"$venv/bin/python" <<'END'
{SAYS_ITS_ARGUMENTS}
END
        chmod +x "$venv/bin/python" ;;
    pip) [ -z "$UV_FAILS" ] || {{ echo "no such package"; exit 1; }} ;;
esac
"""


@dataclass(frozen=True)
class Tree:
    """A copy of the command in a folder of its own, and a PATH that holds only what it is given."""

    root: Path
    path: Path

    def put(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        how: tuple[str, ...] = (),
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*how, str(self.root / "tollgate"), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=cwd or self.root,
            env={"PATH": str(self.path), "CALLS": str(self.path / "calls"), **(env or {})},
        )

    def calls(self) -> list[str]:
        return (self.path / "calls").read_text().splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "a folder", tmp_path / "bin")
    tree.root.mkdir()
    tree.path.mkdir()
    shutil.copy(ROOT / "tollgate", tree.root)
    (tree.root / "requirements.lock").write_text("one==1\n")
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tree.path / tool).symlink_to(found)
    return tree


@pytest.fixture
def ready(tree: Tree) -> Tree:
    """The tree after its first use."""
    (tree.path / "python3").symlink_to(sys.executable)
    tree.put("uv", UV)
    assert tree.run("manage").returncode == 0
    return tree


def test_an_unknown_verb_shows_the_usage_and_ends_with_2(tree: Tree) -> None:
    unknown = tree.run("launch")

    assert unknown.returncode == 2
    assert unknown.stderr.startswith("usage: ./tollgate <verb>\n")


def test_without_python_one_line_says_what_to_install(tree: Tree) -> None:
    refused = tree.run("up")

    assert refused.returncode == 1
    assert refused.stderr == (
        "tollgate: no Python 3.11 or newer was found: install one, or set PYTHON to its path.\n"
    )


def test_a_python_that_is_too_old_is_passed_over(tree: Tree) -> None:
    tree.put("python3", "#!/bin/sh\nexit 1\n")
    (tree.path / "python3.11").symlink_to(sys.executable)
    tree.put("uv", UV)

    assert tree.run("manage").returncode == 0
    assert f"--python {tree.path}/python3.11 " in tree.calls()[0]


def test_a_python_named_by_the_caller_that_does_not_suit_is_named(tree: Tree) -> None:
    refused = tree.run("up", env={"PYTHON": "/nowhere/my python"})

    assert refused.returncode == 1
    assert refused.stderr == (
        "tollgate: PYTHON=/nowhere/my python is not a Python 3.11 or newer.\n"
    )


def test_a_python_without_venv_is_told_what_to_install(tree: Tree) -> None:
    python = tree.path / "python3"
    tree.put(
        "python3",
        f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *executable*) echo {python} ;; esac\n',
    )

    refused = tree.run("up")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"tollgate: {python} has no venv: install python3-venv (Debian, Ubuntu) or uv.\n"
    )


def test_the_first_use_installs_from_the_hashed_lock_and_says_so_once(ready: Tree) -> None:
    venv, install = ready.calls()

    assert venv.startswith("venv --quiet --python ")
    assert "--no-deps --require-hashes" in install
    assert install.endswith(f"-r {ready.root}/requirements.lock")
    assert ready.run("manage").stderr == ""
    assert len(ready.calls()) == 2


def test_a_changed_lock_is_installed_anew(ready: Tree) -> None:
    (ready.root / "requirements.lock").write_text("one==2\n")

    assert ready.run("manage").stderr == "Setting up .venv (once) …\n"
    assert len(ready.calls()) == 4


def test_a_failed_installation_shows_why_and_leaves_no_half_made_venv(tree: Tree) -> None:
    (tree.path / "python3").symlink_to(sys.executable)
    tree.put("uv", UV)

    failed = tree.run("up", env={"UV_FAILS": "1"})

    assert failed.returncode == 1
    assert "no such package\n" in failed.stderr
    assert not (tree.root / ".venv").exists()
    assert tree.run("up").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("up",), "-m stack up"),
        (("manage", "migrate", "--plan"), "manage.py migrate --plan"),
        (("prove",), "manage.py prove"),
        (("bench", "--short"), "-m tests.bench --short"),
        (("test",), "-m pytest -n 3 --dist loadgroup"),
        (("test", "--long", "-k", "x"), "-m pytest -n 3 --dist loadgroup --long -k x"),
        (("test", "-n0", "tests"), "-m pytest -n0 tests"),
    ],
)
def test_each_verb_runs_its_command_from_the_root_with_both_paths(
    ready: Tree, arguments: tuple[str, ...], command: str
) -> None:
    root = str(ready.root)

    said = ready.run(*arguments, cwd=Path("/")).stdout.splitlines()

    assert said == [f"{root}:{root}/platform", root, command]


def test_two_first_uses_at_once_install_once(tree: Tree) -> None:
    (tree.path / "python3").symlink_to(sys.executable)
    tree.put("uv", UV.replace("case $1", "sleep 0.3; case $1", 1))

    with ThreadPoolExecutor() as threads:
        both = [threads.submit(tree.run, "prove") for _ in range(2)]

    assert [each.result().returncode for each in both] == [0, 0]
    assert len(tree.calls()) == 2
    assert not (tree.root / ".venv.lock").exists()


def test_a_lock_left_by_a_killed_first_use_is_void(tree: Tree) -> None:
    (tree.path / "python3").symlink_to(sys.executable)
    tree.put("uv", UV)
    (tree.root / ".venv.lock").mkdir()
    (tree.root / ".venv.lock" / "owner").write_text("4194304\n")  # above any pid

    assert tree.run("prove").returncode == 0


def test_it_runs_through_sh_and_through_a_link(ready: Tree, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(ready.root / "tollgate")
    env = {"PATH": str(ready.path)}

    through_sh = ready.run("prove", how=("sh",))
    linked = subprocess.run(
        [tmp_path / "linked", "prove"], capture_output=True, text=True, env=env, check=True
    )

    assert through_sh.stdout == linked.stdout
    assert linked.stdout.endswith("manage.py prove\n")


def test_a_second_start_costs_less_than_300_ms(ready: Tree) -> None:
    started = time.monotonic()
    ready.run("prove")

    assert time.monotonic() - started < 0.3


def test_ci_has_one_entry_that_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert os.access(ROOT / "tollgate", os.X_OK)

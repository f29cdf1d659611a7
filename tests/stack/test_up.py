"""``up`` with Tollgate itself: what a newcomer is shown works."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.machine import ROOT, processes_on, until
from tests.stack.toy import Stack, gone, stack_environment, start_stack

pytestmark = pytest.mark.xdist_group("up")


@pytest.fixture
def env(folder: Path) -> Iterator[dict[str, str]]:
    yield {**stack_environment(ROOT, folder / "data"), "HOME": str(folder)}
    for process in processes_on(folder):
        process.kill()


def printed_call(stack: Stack) -> list[str]:
    """Run the printed curl line as it stands and return the events of its stream."""
    line = next(line for line in stack.said.splitlines() if line.strip().startswith("curl "))
    ended = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=60, check=True
    )
    return [event for event in ended.stdout.split("\n\n") if event]


def test_what_a_newcomer_is_shown_works_and_survives_a_kill_of_the_supervisor(
    env: dict[str, str],
) -> None:
    first = start_stack(env).wait_up(120)
    family = first.family()

    assert printed_call(first)[-1] == "data: [DONE]"
    beside = {name: env[name] for name in ("PATH", "HOME", "DATA_DIR")}
    proof = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "prove"],
        env=beside,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert proof.returncode == 0, proof.stdout + proof.stderr

    first.up.kill()
    until(lambda: gone(family))
    second = start_stack(env).wait_up(120)

    assert second.said == first.said
    assert printed_call(second)[-1] == "data: [DONE]"
    started = time.monotonic()
    second.up.terminate()
    assert second.wait_end() == 0
    assert time.monotonic() - started < 10

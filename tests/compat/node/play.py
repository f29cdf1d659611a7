"""Playing a scene of a JavaScript client against a stage: one process of Node each."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from billing.models import UsageEvent
from tests.calls import wait_for
from tests.compat.environment import client_environment
from tests.stage import Stage

FOLDER = Path(__file__).parent
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(
    (NODE is None or not (FOLDER / "node_modules").is_dir()) and not os.environ.get("CI"),
    reason="no Node or no packages here: npm ci --prefix tests/compat/node",
)


def play(
    stage: Stage, client: str, scene: str, *, key: str | None = None, **environment: str
) -> Any:
    """Return what the scene returned; the clients find address and key where they always look."""
    played = subprocess.run(
        [NODE or "node", "run.mjs", client, scene],
        cwd=FOLDER,
        env=client_environment(stage, key or stage.acme.key_text, **environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    return json.loads(played.stdout)


def usage_of(stage: Stage, *, calls: int = 1) -> list[UsageEvent]:
    """Wait for the usage rows of this many calls, and return them in their order."""
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk).order_by("occurred_at")
    wait_for(lambda: rows.count() == calls, seconds=30, what=f"{calls} usage rows")
    return list(rows.all())

"""Playing the scenes of a Python client that has an environment of its own, ``.venv-clients``."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billing.models import UsageEvent
from kernel.ids import random_base62
from tests.calls import wait_for
from tests.compat.environment import client_environment
from tests.factories import Tenant, make_tenant
from tests.servers import ROOT
from tests.stage import House

FOLDER = Path(__file__).parent
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
# LiteLLM would fetch a price list at every start.
AT_HOME = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

needs_clients = pytest.mark.skipif(
    not PYTHON.exists() and not os.environ.get("CI"),
    reason="no .venv-clients here: tests/compat/clients/install",
)


@dataclass(frozen=True)
class Played:
    """What each scene returned, and whose calls they were."""

    scenes: dict[str, Any]
    acme: Tenant

    def usage(self, *, calls: int) -> list[UsageEvent]:
        """Wait for the usage rows of this many calls, and return them in their order."""
        rows = UsageEvent.objects.filter(org_id=self.acme.org.pk).order_by("occurred_at")
        wait_for(lambda: rows.count() >= calls, seconds=30, what=f"{calls} usage rows")
        return list(rows)


def play(house: House, script: str, way: str) -> Played:
    """Play all scenes in one process, for a tenant of their own: these clients start slowly."""
    acme = make_tenant(f"Acme {random_base62(6)}")
    played = subprocess.run(
        [str(PYTHON), str(FOLDER / script), way],
        cwd=house.folder,
        env=client_environment(house, acme.key_text, **AT_HOME),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    return Played(json.loads(played.stdout), acme)

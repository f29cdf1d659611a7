"""LiteLLM's proxy beside us: the same mock upstream, the same core, no database and no keys.

It comes from an environment of its own, given by its folder (``tests/compat/clients/install`` makes
one). It checks one master key and passes calls on: nothing is held, limited or kept.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import Server, environment, free_port, running

KEY = "sk-peer-on-loopback"


@contextmanager
def running_peer(venv: Path, upstream: str, folder: Path) -> Iterator[Server]:
    """Start the proxy before ``upstream`` as its model ``mock``.

    Raises:
        FileNotFoundError: where the environment has no LiteLLM.

    """
    program = venv / "bin" / "litellm"
    if not program.exists():
        raise FileNotFoundError(f"there is no {program}")
    served = {"model": "openai/up-1", "api_base": f"{upstream}/v1", "api_key": "sk-upstream"}
    config = folder / "peer.json"
    config.write_text(
        json.dumps({"model_list": [{"model_name": "mock", "litellm_params": served}]})
    )
    port = free_port()
    env = environment(
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_TELEMETRY="False",
        LITELLM_MASTER_KEY=KEY,
        PYTHONPATH="",
    )
    for name in ("DATABASE_URL", "REDIS_URL"):
        env.pop(name, None)
    command = [os.fspath(program), "--config", str(config), "--host", "127.0.0.1"]
    with running(
        [*command, "--port", str(port)], port, env, folder, ready="/health/liveliness"
    ) as server:
        yield server

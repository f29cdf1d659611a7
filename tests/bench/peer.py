"""Other gateways beside us: the same mock upstream, the same core, no database and no keys.

Each comes from an environment of its own, given by its folder:

- LiteLLM's proxy: a virtual environment (``tests/compat/clients/install`` makes one). It checks one
  master key and passes calls on: nothing is held, limited or kept.
- Portkey's gateway: a folder in which npm has installed ``@portkey-ai/gateway``. It passes on
  whatever the caller's headers say.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import post_request
from tests.servers import Server, environment, free_port, running

KEY = "sk-peer-on-loopback"
MODEL, UPSTREAM_MODEL = b'"mock"', b'"up-1"'
LITELLM = Path("bin") / "litellm"
PORTKEY = Path("node_modules") / "@portkey-ai" / "gateway" / "build" / "start-server.js"


@dataclass(frozen=True)
class Peer:
    """A running peer, and how a call of our model ``mock`` is put to it."""

    name: str
    server: Server
    model: bytes
    headers: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"{self.server.url}/v1/chat/completions"

    def request(self, body: bytes) -> bytes:
        named = body.replace(MODEL, self.model)
        return post_request(self.url, KEY, named, self.headers)


@contextmanager
def running_peer(home: Path, upstream: str, folder: Path) -> Iterator[Peer]:
    """Start the peer that is at home there, before ``upstream``.

    Raises:
        FileNotFoundError: where there is none.

    """
    if (home / LITELLM).exists():
        with _running_litellm(home / LITELLM, upstream, folder) as server:
            yield Peer("LiteLLM", server, MODEL, {})
    elif (home / PORTKEY).exists():
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{upstream}/v1",
        }
        with _running_portkey(home / PORTKEY, folder) as server:
            yield Peer("Portkey", server, UPSTREAM_MODEL, headers)
    else:
        raise FileNotFoundError(f"there is neither {home / LITELLM} nor {home / PORTKEY}")


@contextmanager
def _running_litellm(program: Path, upstream: str, folder: Path) -> Iterator[Server]:
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


@contextmanager
def _running_portkey(program: Path, folder: Path) -> Iterator[Server]:
    port = free_port()
    env = environment(NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1,localhost")
    command: Sequence[str] = ["node", os.fspath(program), f"--port={port}", "--headless"]
    with running(command, port, env, folder, ready="/") as server:
        yield server

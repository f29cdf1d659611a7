"""LiteLLM's proxy, a server that is not ours, behind us: as an upstream of either dialect.

It offers ``mocked``, which always says the same, and models that it gets from this same house with
a key of its own. So an answer goes simulator → us → LiteLLM → us → caller, and both of our legs
are metered.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from billing.prices import text_price
from gateway.models import Provider
from gateway.offers import create_model, create_provider
from kernel.money import parse_usd
from tests.calls import post, wait_for
from tests.compat.clients.play import AT_HOME, PYTHON
from tests.factories import ACTOR, Tenant, make_tenant
from tests.servers import Server, free_port, running
from tests.stage import House

KEY = "sk-peer"
MOCKED = "The peer has answered."
START_S = 180
# Whatever it wants to tell or ask outside of this machine ends at a closed port.
ALONE = {
    **AT_HOME,
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}
# Its names for models of the house; ``slow`` takes longer than any test waits.
BEHIND: dict[str, dict[str, Any]] = {
    "hacxgpt": {"model": "openai/hacxgpt"},
    "slow": {"model": "openai/mock", "extra_body": {"mock": {"chunks": 4000, "delay_ms": 10}}},
    "unknown": {"model": "openai/no-such"},
}
BASES = {Provider.Kind.OPENAI: "/v1", Provider.Kind.ANTHROPIC: ""}


@dataclass(frozen=True)
class Peer:
    """The proxy's process, and the tenant whose key it calls us back with."""

    house: House
    server: Server
    reseller: Tenant


@contextmanager
def open_peer(house: House) -> Iterator[Peer]:
    """Start the proxy and offer its models as ``openai/…`` and ``anthropic/…``."""
    reseller = make_tenant("Reseller")
    behind = {"api_base": f"{house.api.url}/v1", "api_key": reseller.key_text}
    settings = {
        "model_list": [
            {
                "model_name": "mocked",
                "litellm_params": {"model": "openai/mocked", "mock_response": MOCKED},
            },
            *(
                {"model_name": name, "litellm_params": {**behind, **wish}}
                for name, wish in BEHIND.items()
            ),
        ],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "router_settings": {"disable_cooldowns": True},
        "general_settings": {"master_key": KEY},
    }
    config = house.folder / "litellm.yaml"
    config.write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [str(PYTHON.parent / "litellm"), "--config", str(config), "--telemetry", "False"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    env = {"PATH": os.environ["PATH"], "HOME": str(house.folder), **ALONE}
    ready = "/health/liveliness"
    with running(command, port, env, house.folder, ready=ready, start_s=START_S) as server:
        _offer(house, server)
        yield Peer(house, server, reseller)


def _offer(house: House, server: Server) -> None:
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    for kind, path in BASES.items():
        create_provider(kind, kind=kind, base_url=server.url + path, credential=KEY, actor=ACTOR)
        for model in ("mocked", *BEHIND):
            create_model(
                f"{kind}/{model}", provider=kind, upstream_model=model, price=price, actor=ACTOR
            )
    probe = make_tenant("Probe")
    body = {"model": "anthropic/unknown", "messages": []}
    wait_for(
        lambda: post(house.api.url, probe.key_text, body).json()["error"]["code"] == "empty_array",
        seconds=30,
        what="the peer's models",
    )

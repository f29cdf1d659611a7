"""Two recorded upstreams, one of each dialect, behind models ``<dialect>-<recording>``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing.prices import text_price
from gateway.deployments import Place, set_deployment
from gateway.offers import create_model, create_provider
from kernel.money import parse_usd
from tests.calls import HELLO, post, wait_for
from tests.factories import ACTOR, make_tenant
from tests.servers import Server, environment, free_port, running
from tests.stage import House

GOLDEN = Path(__file__).parent / "golden"
RECORDINGS = ("text", "tools", "thinking")
BASES = {"openai": "/v1", "anthropic": ""}


@contextmanager
def running_recordings(house: House) -> Iterator[Server]:
    """Start the server and offer its recordings at 1,000 and 2,000 nanos a token."""
    port = free_port()
    command = [sys.executable, "-m", "tests.fakes.recorded", str(port), str(GOLDEN / "upstream")]
    with running(command, port, environment(), house.folder, ready="/transcript") as server:
        for kind, base in BASES.items():
            create_provider(
                kind, kind=kind, base_url=server.url + base, credential=None, actor=ACTOR
            )
            for recording in RECORDINGS:
                create_model(
                    f"{kind}-{recording}",
                    provider=kind,
                    upstream_model=recording,
                    price=text_price(parse_usd("1.00"), parse_usd("2.00")),
                    actor=ACTOR,
                )
        place = Place("openai-thinking", "openai", "thinking")
        set_deployment(place, {"limit_field": "max_completion_tokens"}, actor=ACTOR)
        probe = make_tenant("Probe")
        wait_for(
            lambda: all(
                post(house.api.url, probe.key_text, {"model": name, "messages": HELLO}).ok
                for name in ("anthropic-thinking", "openai-thinking")
            ),
            seconds=30,
            what="the recorded models",
        )
        yield server

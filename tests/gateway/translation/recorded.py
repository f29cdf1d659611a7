"""Two recorded upstreams, one of each dialect, behind models ``<dialect>-<recording>``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing.prices import PriceSpec, text_price
from gateway.deployments import Place, set_deployment
from gateway.offers import create_model, create_provider, price_model
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
                _offer(kind, recording)
        probe = make_tenant("Probe")
        wait_for(
            lambda: all(
                post(house.api.url, probe.key_text, {"model": name, "messages": HELLO}).ok
                for name in (f"{kind}-{last}" for kind in BASES for last in RECORDINGS)
            ),
            seconds=30,
            what="the recorded models",
        )
        yield server


def _offer(kind: str, recording: str) -> None:
    """Offer a recording; priced last, since it is served as it is from then on."""
    name = f"{kind}-{recording}"
    create_model(name, provider=kind, upstream_model=recording, price=None, actor=ACTOR)
    if name == "openai-thinking":
        terms = {"limit_field": "max_completion_tokens"}
        set_deployment(Place(name, kind, recording), terms, actor=ACTOR)
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    price_model(PriceSpec(name, price), actor=ACTOR)

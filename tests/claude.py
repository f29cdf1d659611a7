"""A scripted upstream of Anthropic's messages behind the model ``claude``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from billing.prices import text_price
from gateway.models import Provider
from gateway.offers import create_model, create_provider
from kernel.money import parse_usd
from tests.calls import HELLO, post, wait_for
from tests.factories import ACTOR, make_tenant
from tests.servers import Server, environment, free_port, running
from tests.stage import House


@contextmanager
def running_claude(house: House) -> Iterator[Server]:
    """Start the upstream and offer it at 1,000 and 2,000 nanos a token."""
    port = free_port()
    command = [sys.executable, "-m", "tests.fakes.messages", str(port)]
    with running(command, port, environment(), house.folder, ready="/transcript") as server:
        create_provider(
            "claude",
            kind=Provider.Kind.ANTHROPIC,
            base_url=server.url,
            credential="sk-ant-secret",
            actor=ACTOR,
        )
        create_model(
            "claude",
            provider="claude",
            upstream_model="up-1",
            price=text_price(parse_usd("1.00"), parse_usd("2.00")),
            actor=ACTOR,
        )
        probe = make_tenant("Probe")
        body = {"model": "claude", "messages": HELLO}
        wait_for(
            lambda: post(house.api.url, probe.key_text, body).status_code == 200,
            seconds=30,
            what="the model claude",
        )
        yield server

"""A house whose first model is down: ``broken`` fails with 503, ``mock`` is scripted and answers.

Both cost the same but for their price versions. ``third`` is served like ``mock``, and ``unpriced``
has no price.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import requests

from billing.models import Hold
from billing.prices import text_price
from gateway.models import Provider
from gateway.offers import create_model, create_provider
from kernel.money import parse_usd
from tests.calls import HELLO
from tests.stage import House, Stage, open_house

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/anthropic/v1/messages", "/v1/responses"


@dataclass
class Broken:
    """A provider that answers everything with 503, and what it was asked."""

    port: int
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BrokenHouse(House):
    broken: Broken


@contextmanager
def running_broken() -> Iterator[Broken]:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            broken.asked.append(self.path)
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its own signature
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    broken = Broken(server.server_address[1])
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield broken
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@contextmanager
def open_broken_house(blocker: Any, folder: Path) -> Iterator[BrokenHouse]:
    with running_broken() as broken:

        def offer() -> None:
            price = text_price(parse_usd("1.00"), parse_usd("2.00"))
            create_provider(
                "broken",
                kind=Provider.Kind.OPENAI,
                base_url=f"http://127.0.0.1:{broken.port}/v1",
                credential=None,
                actor="test",
            )
            for name, provider, upstream_model, its_price in (
                ("broken", "broken", "b-1", price),
                ("third", "mock", "up-3", price),
                ("unpriced", "mock", "up-4", None),
            ):
                create_model(
                    name,
                    provider=provider,
                    upstream_model=upstream_model,
                    price=its_price,
                    actor="test",
                )

        with open_house(blocker, folder, prepare=offer) as house:
            yield BrokenHouse(house.stores, house.api, house.upstream, house.folder, broken)


def body_for(path: str, *models: str, **fields: Any) -> dict[str, Any]:
    """Return a body of a path's dialect that names its models in ``models`` alone."""
    prompt = {"input": "Hello"} if path == RESPONSES else {"messages": HELLO}
    limit = {"max_tokens": 100} if path == MESSAGES else {}
    return {"models": list(models), **prompt, **limit, **fields}


def holds_of(stage: Stage) -> list[tuple[str, str]]:
    """Return models and states of a tenant's holds, in the order they were made."""
    holds = Hold.objects.filter(org_id=stage.acme.org.pk).order_by("created_at", "request_id")
    return [(hold.model, hold.state) for hold in holds]


def error_of(answer: requests.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error

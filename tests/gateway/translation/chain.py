"""Two stacks in a row: the second calls the first as its upstream, in both dialects."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.models import UsageEvent
from billing.prices import text_price
from gateway.models import Deployment, Provider, PublicModel
from gateway.news import announce_catalog_change
from gateway.offers import create_model, create_provider
from kernel.ids import random_base62
from kernel.money import parse_usd
from tests.calls import post, wait_for
from tests.factories import ACTOR, Tenant, make_tenant
from tests.stage import House, open_house

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}
BASES = {"openai": "/v1", "anthropic": "/anthropic/v1"}  # the latter works without /v1 too


@dataclass(frozen=True)
class Chain:
    """``first`` has the simulator; ``second`` offers it again as ``<kind>/<model>``."""

    first: House
    second: House

    def offer(self, name: str, *, kind: str, upstream_model: str, credential: str) -> None:
        """Offer a model of the first stack on the second, by a provider of its own."""
        create_provider(
            name,
            kind=kind,
            base_url=self.first.api.url + BASES[kind],
            credential=credential,
            actor=ACTOR,
        )
        create_model(
            name,
            provider=name,
            upstream_model=upstream_model,
            price=text_price(parse_usd("1.00"), parse_usd("2.00")),
            actor=ACTOR,
        )

    def tenant(self) -> Tenant:
        return make_tenant(f"Acme {random_base62(6)}")

    def ask(self, tenant: Tenant, dialect: str, body: Mapping[str, Any]) -> Any:
        return post(self.second.api.url, tenant.key_text, body, path=PATHS[dialect])

    def usage_of(self, tenant: Tenant) -> UsageEvent:
        rows = UsageEvent.objects.filter(org_id=tenant.org.pk)
        event: UsageEvent = wait_for(rows.first, what="the usage row")
        return event


@contextmanager
def open_chain(blocker: Any, folder: Path) -> Iterator[Chain]:
    """Start both stacks, with three tenants of the first one as the second's accounts there."""
    for name in ("first", "second"):
        (folder / name).mkdir()
    with open_house(blocker, folder / "first") as first:
        good = make_tenant("Reseller", credit_usd="1000").key_text
        poor = make_tenant("Broke", credit_usd="0").key_text
        with open_house(blocker, folder / "second") as second:
            chain = Chain(first, second)
            for kind in BASES:
                for model in ("hacxgpt", "hacxgpt-faulty"):
                    chain.offer(f"{kind}/{model}", kind=kind, upstream_model=model, credential=good)
                chain.offer(f"{kind}/broke", kind=kind, upstream_model="hacxgpt", credential=poor)
                chain.offer(
                    f"{kind}/locked-out",
                    kind=kind,
                    upstream_model="hacxgpt",
                    credential="hk-proj-wrong",
                )
                chain.offer(f"{kind}/unknown", kind=kind, upstream_model="no-such", credential=good)
            chain.offer("both", kind="openai", upstream_model="hacxgpt", credential=good)
            Deployment.objects.create(
                public_model=PublicModel.objects.get(name="both"),
                provider=Provider.objects.get(name="anthropic/hacxgpt"),
                upstream_model="hacxgpt",
                priority=1,
            )
            announce_catalog_change()
            _wait_for_models(chain)
            yield chain


def _wait_for_models(chain: Chain) -> None:
    tenant = make_tenant("Probe")
    body = {"model": "anthropic/unknown", "messages": [{"role": "user", "content": "x"}]}

    def is_known() -> bool:
        status: int = chain.ask(tenant, "openai", body).status_code
        return status != 404

    wait_for(is_known, what="the second stack's models")

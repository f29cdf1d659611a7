"""Servers that a fault test may kill: one house a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo import seed_catalog
from tests.conftest import Stores
from tests.factories import Tenant, make_tenant, offer_upstream
from tests.servers import Server, free_port, running_api, running_upstream


@dataclass(frozen=True)
class Battlefield:
    """A tenant, an upstream, and a way to start api processes that share a journal folder."""

    stores: Stores
    acme: Tenant
    upstream: Server
    folder: Path
    start_api: Callable[..., Server]

    @property
    def journals(self) -> Path:
        return self.folder / "journal"


@pytest.fixture
def field(stores: Stores, tmp_path: Path) -> Iterator[Battlefield]:
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(tmp_path))
        seed_catalog(test_models=True)
        offer_upstream(upstream.url)

        def start_api(**options: str) -> Server:
            return stack.enter_context(
                running_api(
                    options.pop("database_url", stores.database_url),
                    options.pop("redis_url", stores.redis_url),
                    tmp_path,
                    port=free_port(),
                    **options,
                )
            )

        yield Battlefield(stores, make_tenant(), upstream, tmp_path, start_api)

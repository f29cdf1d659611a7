"""Servers that a fault test may kill: one house a test.

``field`` shares the run's stores and kills processes; ``siege`` has stores of its own, to be killed
and frozen too. ``start_apis`` starts several processes at once, which is what takes the time.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from gateway.demo import seed_catalog
from stack.services import Services
from tests.books import assert_proven
from tests.calls import chat_body, post
from tests.conftest import Stores
from tests.factories import Tenant, make_tenant, offer_upstream
from tests.servers import Server, free_port, running_api, running_upstream
from tests.stage import stage

__all__ = ["field", "siege", "stage"]


@dataclass(frozen=True)
class Field:
    """A tenant, an upstream, and a way to start api processes that share a journal folder."""

    stores: Stores
    acme: Tenant
    upstream: Server
    folder: Path
    start_api: Callable[..., Server]

    @property
    def journals(self) -> Path:
        return self.folder / "journal"

    def start_apis(self, count: int, **options: str) -> list[Server]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _: self.start_api(**options), range(count)))

    def prove(self) -> None:
        assert_proven(self.stores.database_url, self.journals)


@dataclass(frozen=True)
class Siege(Field):
    """The same on stores of its own, and one api process."""

    services: Services
    api: Server

    def call(self, **fields: Any) -> int:
        return post(self.api.url, self.acme.key_text, chat_body("mock", **fields)).status_code


def _starter(stack: ExitStack, stores: Stores, folder: Path) -> Callable[..., Server]:
    def start_api(*, port: int | None = None, **options: str) -> Server:
        return stack.enter_context(
            running_api(
                stores.database_url,
                stores.redis_url,
                folder,
                port=port or free_port(),
                **options,
            )
        )

    return start_api


@pytest.fixture
def field(stores: Stores, tmp_path: Path) -> Iterator[Field]:
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(tmp_path))
        seed_catalog(test_models=True)
        offer_upstream(upstream.url)
        yield Field(stores, make_tenant(), upstream, tmp_path, _starter(stack, stores, tmp_path))


@pytest.fixture
def siege(
    own_stores: Callable[[], Services], django_db_blocker: Any, tmp_path: Path
) -> Iterator[Siege]:
    services = own_stores()
    kept = dict(connection.settings_dict)
    connection.close()
    host = services.database_url.partition("host=")[2]
    connection.settings_dict.update(NAME="tollgate", HOST=host)
    with django_db_blocker.unblock(), ExitStack() as stack:
        call_command("migrate", verbosity=0)
        upstream = stack.enter_context(running_upstream(tmp_path))
        seed_catalog(test_models=True)
        offer_upstream(upstream.url)
        stores = Stores(services.database_url, services.redis_url)
        start_api = _starter(stack, stores, tmp_path)
        yield Siege(stores, make_tenant(), upstream, tmp_path, start_api, services, start_api())
    connection.close()
    connection.settings_dict.update(kept)

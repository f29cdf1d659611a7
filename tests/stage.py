"""A live api process for the tests of one file, with the built-in models and a scripted upstream.

Each test gets an organization of its own (``stage.acme``): they do not see each other's money.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import seed_catalog
from kernel.ids import random_base62
from tests.books import assert_proven
from tests.conftest import Stores, empty_redis, fresh_database
from tests.factories import Tenant, make_tenant, offer_upstream
from tests.servers import Server, running_api, running_upstream

# Exact rate limits need Redis' answer, and every call its hold: short waits are tried elsewhere,
# and CI's machines stall.
# The tests of a file share one upstream, and many make it fail; circuits have tests of their own.
PATIENT = {"LIMITS_WAIT_MS": "2000", "HOLD_WAIT_MS": "5000", "CIRCUIT_FAILURES": "1000"}


@dataclass(frozen=True)
class House:
    """Servers and stores. ``journals`` is the api process's journal folder."""

    stores: Stores
    api: Server
    upstream: Server
    folder: Path

    @property
    def journals(self) -> Path:
        return self.folder / "journal"


@dataclass(frozen=True)
class Stage(House):
    """The house and this test's tenant."""

    acme: Tenant


@contextmanager
def open_house(
    blocker: Any,
    folder: Path,
    *,
    server: str = "uvicorn",
    prepare: Callable[[], object] = lambda: None,
    **settings: str,
) -> Iterator[House]:
    """Start one api process before a fresh database, with the models and a scripted upstream.

    ``prepare`` may change what is offered before the process starts. Once the process has ended,
    the books of whatever was called must be right.
    """
    with ExitStack() as stack:
        stores = Stores(stack.enter_context(fresh_database(blocker)), empty_redis())
        stack.callback(assert_proven, stores.database_url, folder / "journal")
        upstream = stack.enter_context(running_upstream(folder))
        seed_catalog(test_models=True)
        offer_upstream(upstream.url)
        prepare()
        api = stack.enter_context(
            running_api(
                stores.database_url,
                stores.redis_url,
                folder,
                port=None,
                server=server,
                SIMULATOR_TEST_MODELS="1",
                **{**PATIENT, **settings},
            )
        )
        yield House(stores, api, upstream, folder)


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One api process on uvicorn for the tests of a file."""
    with open_house(django_db_blocker, tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture
def stage(house: House) -> Stage:
    """A new tenant in the file's house."""
    acme = make_tenant(f"Acme {random_base62(6)}")
    return Stage(house.stores, house.api, house.upstream, house.folder, acme)

"""A live api process with the built-in models and a scripted upstream, for many tests.

Each test gets an organization of its own (``stage.acme``): they do not see each other's money. What
a test adds to the catalogue is under a name of its own. Files whose tests need a process of their
own settings, or change what others are offered, open a house of their own.
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
from tests.conftest import Stores, copied_database, database_url, empty_redis, pointed_at
from tests.factories import Tenant, make_tenant, offer_upstream
from tests.servers import Server, running_api, running_upstream

# Exact rate limits need Redis' answer, and every call its hold: short waits are tried elsewhere,
# and CI's machines stall.
# The tests of a file share one upstream, and many make it fail; circuits have tests of their own.
PATIENT = {"LIMITS_WAIT_MS": "2000", "HOLD_WAIT_MS": "5000", "CIRCUIT_FAILURES": "1000"}

Prepare = Callable[[], object]


def nothing() -> None:
    """Offer what every house offers."""


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
    prepare: Prepare = nothing,
    **settings: str,
) -> Iterator[House]:
    """Start one api process before a fresh database, with the models and a scripted upstream.

    ``prepare`` may change what is offered before the process starts. Once the process has ended,
    the books of whatever was called must be right.
    """
    with (
        copied_database() as name,
        build_house(blocker, name, folder, server, prepare, **settings) as built,
        pointed_at(name, blocker),
    ):
        yield built


@contextmanager
def build_house(
    blocker: Any,
    database: str,
    folder: Path,
    server: str = "uvicorn",
    prepare: Prepare = nothing,
    **settings: str,
) -> Iterator[House]:
    """Start a house on a database that Django is pointed at only meanwhile."""
    with ExitStack() as stack:
        stores = Stores(database_url(database), empty_redis())
        stack.callback(assert_proven, stores.database_url, folder / "journal")
        upstream = stack.enter_context(running_upstream(folder))
        with pointed_at(database, blocker):
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


class Street:
    """The houses that all files share which a worker runs; each is opened when it is asked for."""

    def __init__(self, stack: ExitStack, blocker: Any, folders: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._blocker = blocker
        self._folders = folders
        self._houses: dict[tuple[str, Prepare], tuple[str, House]] = {}

    @contextmanager
    def house(self, server: str = "uvicorn", prepare: Prepare = nothing) -> Iterator[House]:
        """Point Django at the database of the house with this server, prepared like this."""
        kind = server, prepare
        if kind not in self._houses:
            name = self._stack.enter_context(copied_database())
            folder = self._folders.mktemp(server)
            built = build_house(self._blocker, name, folder, server, prepare)
            self._houses[kind] = name, self._stack.enter_context(built)
        name, house = self._houses[kind]
        with pointed_at(name, self._blocker):
            yield house


@pytest.fixture(scope="module")
def own_house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One api process on uvicorn for the tests of a file alone."""
    with open_house(django_db_blocker, tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture(scope="module")
def house(street: Street) -> Iterator[House]:
    """The worker's api process on uvicorn."""
    with street.house() as shared:
        yield shared


@pytest.fixture
def stage(house: House) -> Stage:
    """A new tenant in the house."""
    acme = make_tenant(f"Acme {random_base62(6)}")
    return Stage(house.stores, house.api, house.upstream, house.folder, acme)

"""The stage: real PostgreSQL and Redis for the whole run, a fresh database for every test.

1. The first pytest process starts both servers in a temporary folder (no fsync) and migrates one
   template database; xdist's workers find them in the environment.
2. ``database`` copies the template for one test and points Django at the copy.
3. ``own_stores`` starts a pair of servers that a fault test may kill and freeze.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

# how long examples take is the machine's affair
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [p for p in (str(ROOT), str(ROOT / "platform")) if p not in sys.path]

from stack.services import Services, start_services  # noqa: E402 # needs the path above

TEMPLATE = os.environ.get("TEST_TEMPLATE", "template_tollgate")
ROOMY_BYTES = 8 * 2**30
_services: Services | None = None
_folder: Path | None = None


def _quick_folder() -> str | None:
    """Return memory's file system where it is large enough: a database a test is many files."""
    memory = Path("/dev/shm")  # noqa: S108 # a fresh folder in it, of this run alone
    if memory.is_dir() and os.access(memory, os.W_OK):
        return str(memory) if shutil.disk_usage(memory).free > ROOMY_BYTES else None
    return None


def _forget_settings() -> None:
    """Leave out the settings of whoever starts the run: tests are of defaults, or set their own."""
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        name, is_setting, _ = line.lstrip("# ").partition("=")
        if is_setting and name.isidentifier():
            os.environ.pop(name, None)


def _own_the_stores() -> None:
    global _services, _folder  # noqa: PLW0603 # one pair of servers a run
    _forget_settings()
    _folder = Path(tempfile.mkdtemp(prefix="tollgate-", dir=_quick_folder()))
    _services = start_services(_folder, durable=False)
    os.environ.update(
        TEST_STORES="1",
        DATABASE_URL=_services.database_url,
        REDIS_URL=_services.redis_url,
        DATA_DIR=str(_folder),
        SECRET_KEY=uuid4().hex,
        KEY_PEPPERS="1:" + uuid4().hex + uuid4().hex,
        DJANGO_SETTINGS_MODULE="config.settings",
        CELERY_BROKER_URL="",
        PROVIDER_NETWORKS="127.0.0.0/8",
        MEDIA_LOOKUP="none",  # names of examples are nobody to ask for
    )


OWNER = "TEST_STORES" not in os.environ
if OWNER:
    _own_the_stores()

import django  # noqa: E402 # the settings read the environment made above

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from tests.books import assert_proven  # noqa: E402

PASSED = pytest.StashKey[bool]()


def database_url(name: str) -> str:
    """Return the address of another database on the run's server."""
    return os.environ["DATABASE_URL"].replace("/tollgate?", f"/{name}?")


def redis_url() -> str:
    """Return this worker's own Redis database."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return os.environ["REDIS_URL"].replace("db=0", f"db={int(worker) + 1}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long forms of the fault tests")


def pytest_configure(config: pytest.Config) -> None:
    if OWNER:
        with psycopg.connect(database_url("postgres"), autocommit=True) as maintenance:
            maintenance.execute(f"create database {TEMPLATE}")
        _use_database(TEMPLATE)
        call_command("migrate", verbosity=0)
        connection.close()
    _use_database("no_database_without_the_fixture")


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWNER and _services is not None and _folder is not None:
        connection.close()
        _services.stop()
        shutil.rmtree(_folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        items[:] = [item for item in items if item.get_closest_marker("long") is None]
    for item in items:
        # tests that share a house stay with one worker, which then starts it once
        if "house" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Leave word with the test whether its body passed, for the fixtures that end after it."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


def _use_database(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


@contextmanager
def copied_database() -> Iterator[str]:
    """Copy the template; yield the copy's name, and drop it in the end."""
    name = f"t_{uuid4().hex}"
    with psycopg.connect(database_url("postgres"), autocommit=True) as maintenance:
        maintenance.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    yield name
    with psycopg.connect(database_url("postgres"), autocommit=True) as maintenance:
        maintenance.execute(f"drop database {name} with (force)")


@contextmanager
def pointed_at(name: str, blocker: Any) -> Iterator[None]:
    """Let Django use a database, and no other before and after."""
    _use_database(name)
    try:
        with blocker.unblock():
            yield
    finally:
        _use_database("no_database_without_the_fixture")


@contextmanager
def fresh_database(blocker: Any) -> Iterator[str]:
    """Copy the template and point Django at the copy."""
    with copied_database() as name, pointed_at(name, blocker):
        yield database_url(name)


@dataclass(frozen=True)
class Stores:
    """The addresses of a fresh database and an empty Redis database, for servers of one test."""

    database_url: str
    redis_url: str


def empty_redis() -> str:
    import redis

    address = redis_url()
    with redis.Redis.from_url(address) as client:
        client.flushdb()
    return address


@pytest.fixture
def database(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[str]:
    """A fresh, migrated database that Django uses in this test; its address.

    Whatever a test did, once it has passed its books must be right, unless it is marked as one
    that tampers with them.
    """
    with fresh_database(django_db_blocker) as address:
        yield address
        connection.close()
        if request.node.get_closest_marker("tampers") is None and request.node.stash.get(
            PASSED, False
        ):
            assert_proven(address)


@pytest.fixture
def stores(database: str) -> Stores:
    return Stores(database, empty_redis())


@pytest.fixture
def own_stores() -> Iterator[Callable[[], Services]]:
    """Start servers that the test may kill and freeze; stopped afterwards."""
    started: list[tuple[Services, Path]] = []

    def start() -> Services:
        folder = Path(tempfile.mkdtemp(prefix="tollgate-own-"))
        services = start_services(folder, durable=False)
        started.append((services, folder))
        return services

    yield start
    for services, folder in started:
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def street(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The houses that files share: a ``tests.stage.Street``."""
    from tests.stage import Street

    with ExitStack() as stack:
        yield Street(stack, django_db_blocker, tmp_path_factory)

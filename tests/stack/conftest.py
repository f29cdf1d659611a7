"""A folder for one stack, and servers that are stopped whatever happens."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.identity import Way
from stack.services import Services, start_services
from tests.stack.machine import Starter


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tg"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(folder: Path) -> Iterator[Starter]:
    """Start servers; they end before the folder goes, hence its place among the arguments."""
    with ExitStack() as started:

        def starter(path: Path, *, durable: bool = False, way: Way | None = None) -> Services:
            services = start_services(path, durable=durable, way=way)
            started.callback(services.stop)
            return services

        yield starter

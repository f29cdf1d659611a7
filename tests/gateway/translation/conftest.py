"""Two stacks in a row, and recorded upstreams, for the tests of a file."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.translation.chain import Chain, open_chain
from tests.gateway.translation.recorded import running_recordings
from tests.servers import Server
from tests.stage import House


@pytest.fixture(scope="module")
def chain(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with open_chain(django_db_blocker, tmp_path_factory.mktemp("chain")) as opened:
        yield opened


@pytest.fixture(scope="module")
def recordings(house: House) -> Iterator[Server]:
    with running_recordings(house) as server:
        yield server

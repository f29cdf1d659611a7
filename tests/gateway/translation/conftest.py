"""Two stacks in a row for the tests of a file."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.translation.chain import Chain, open_chain


@pytest.fixture(scope="module")
def chain(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with open_chain(django_db_blocker, tmp_path_factory.mktemp("chain")) as opened:
        yield opened

"""The documented examples run on both servers: uvicorn, which serves the data plane, and daphne."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stage import House, open_house, stage

__all__ = ["house", "stage"]


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def house(
    request: pytest.FixtureRequest,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp(request.param)
    with open_house(django_db_blocker, folder, server=request.param) as opened:
        yield opened

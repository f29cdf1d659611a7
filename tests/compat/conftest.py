"""The documented examples run on both servers: uvicorn, which serves the data plane, and daphne."""

from collections.abc import Iterator

import pytest

from tests.stage import House, Street, stage

__all__ = ["house", "stage"]


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def house(request: pytest.FixtureRequest, street: Street) -> Iterator[House]:
    with street.house(request.param) as shared:
        yield shared

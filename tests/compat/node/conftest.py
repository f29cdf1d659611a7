"""JavaScript's clients call the data plane, which offers the models of their READMEs too."""

from collections.abc import Iterator

import pytest

from tests.compat.documented import offer_readme_models
from tests.stage import House, Street, stage

__all__ = ["house", "stage"]


@pytest.fixture(scope="module")
def house(street: Street) -> Iterator[House]:
    with street.house(prepare=offer_readme_models) as shared:
        yield shared

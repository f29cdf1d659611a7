"""JavaScript's clients call the data plane, which offers the models of their READMEs too."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.readmes import offer_readme_models
from tests.stage import House, open_house, stage

__all__ = ["house", "stage"]


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_readme_models) as opened:
        yield opened

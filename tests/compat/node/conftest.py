"""JavaScript's clients call the data plane, which offers the models of their READMEs too."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.prices import text_price
from gateway.offers import create_model
from kernel.money import parse_usd
from tests.factories import ACTOR
from tests.stage import House, open_house, stage

__all__ = ["house", "stage"]

README_MODELS = ("gpt-5.5", "claude-opus-5-5")


def offer_readme_models() -> None:
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    for name in README_MODELS:
        create_model(name, provider="simulator", upstream_model=name, price=price, actor=ACTOR)


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_readme_models) as opened:
        yield opened

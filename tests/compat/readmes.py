"""The models that the official clients' READMEs call, as an operator would offer them."""

from billing.prices import text_price
from gateway.offers import create_model
from kernel.money import parse_usd
from tests.factories import ACTOR

MODELS = ("gpt-5.5", "claude-opus-5-5")


def offer_readme_models() -> None:
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    for name in MODELS:
        create_model(name, provider="simulator", upstream_model=name, price=price, actor=ACTOR)

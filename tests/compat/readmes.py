"""The official clients' READMEs: the models that they call, and their examples as they stand."""

from collections import Counter
from importlib.metadata import distribution

from billing.prices import text_price
from gateway.offers import create_model
from kernel.money import parse_usd
from tests.factories import ACTOR

MODELS = ("gpt-5.5", "claude-opus-5-5")
FENCES = ("```python", "```py")


def offer_readme_models() -> None:
    """Offer them as an operator would."""
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    for name in MODELS:
        create_model(name, provider="simulator", upstream_model=name, price=price, actor=ACTOR)


def find_examples(package: str) -> dict[str, str]:
    """Return the Python in the README of an installed package.

    An example's name is the heading above it, with its number where that has several.
    """
    readme = str(distribution(package).metadata.json["description"])
    found: dict[str, str] = {}
    below: Counter[str] = Counter()
    heading, fence, lines = "", "", list[str]()
    for line in readme.splitlines():
        if fence and line == "```":
            if fence in FENCES:
                below[heading] += 1
                number = f" {below[heading]}" if below[heading] > 1 else ""
                found[heading + number] = "\n".join(lines)
            fence, lines = "", []
        elif fence:
            lines.append(line)
        elif line.startswith("```"):
            fence = line
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found

"""The official clients' own examples, those of their READMEs and others, and how they run."""

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from billing.models import UsageEvent
from billing.prices import text_price
from gateway.offers import create_model
from kernel.ids import random_base62
from kernel.money import parse_usd
from tests.books import assert_proven
from tests.calls import wait_for
from tests.compat.environment import client_environment
from tests.factories import ACTOR, Tenant, make_tenant
from tests.stage import House

OPENAI_MODEL, ANTHROPIC_MODEL = "gpt-5.5", "claude-opus-5-5"


def offer_readme_models() -> None:
    """Offer them as an operator would."""
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    for name in (OPENAI_MODEL, ANTHROPIC_MODEL):
        create_model(name, provider="simulator", upstream_model=name, price=price, actor=ACTOR)


def find_examples(readme: str, languages: Sequence[str]) -> dict[str, str]:
    """Return the code in a README that is in one of these languages, as its fences name them.

    An example's name is the heading above it, with its number where that has several.
    """
    found: dict[str, str] = {}
    below: Counter[str] = Counter()
    heading, fence, lines = "", "", list[str]()
    for line in readme.splitlines():
        if fence and line == "```":
            if fence.removeprefix("```") in languages:
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


@dataclass(frozen=True)
class Ran:
    """What each example said and where it broke, by its name, and whose calls they were."""

    examples: dict[str, dict[str, str]]
    tenant: Tenant


def run_examples(
    house: House, package: str, examples: dict[str, str], *, runner: Sequence[str], folder: Path
) -> Ran:
    """Run examples of a package in one process, in that folder, for a tenant of their own.

    The runner reads the package and the examples, as JSON, and writes what each said and where it
    broke. Clients find address and key where they always look: in the environment.
    """
    tenant = make_tenant(f"{package} {random_base62(6)}")
    ran = subprocess.run(
        runner,
        input=json.dumps([package, examples]),
        cwd=folder,
        env=client_environment(house, tenant.key_text),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return Ran(json.loads(ran.stdout), tenant)


def assert_charged(house: House, tenant: Tenant, *, calls: dict[str, int]) -> None:
    """Check that every call of the examples was charged, by its model, and the books with it."""
    rows = UsageEvent.objects.filter(org_id=tenant.org.pk)
    wait_for(lambda: rows.count() == sum(calls.values()), what=f"the usage rows of {calls}")

    assert Counter(row.model for row in rows) == calls
    assert {row.outcome for row in rows} <= {"completed", "disconnected"}
    assert_proven(house.stores.database_url, house.journals)

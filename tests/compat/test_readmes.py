"""The examples in both Python clients' READMEs run unchanged, as their installed packages say them.

Address and key come from the environment, where the clients look for them; an operator offers the
models. A new version's examples run by themselves; what cannot run here is named with its reason.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billing.models import UsageEvent
from kernel.ids import random_base62
from tests.books import assert_proven
from tests.calls import wait_for
from tests.compat.environment import client_environment
from tests.compat.readmes import MODELS, find_examples, offer_readme_models
from tests.factories import Tenant, make_tenant
from tests.stage import House, open_house

RUNNER = Path(__file__).parent / "run_examples.py"
IDENTITY = "signs in at a cloud's own service"
REALTIME = "speaks by a WebSocket of OpenAI's"
TUNING = "lists jobs of fine-tuning, which is not served"
FILES = "sends a file to be kept, which is not served"
WEBHOOKS = "receives OpenAI's webhooks by Flask, and asks nothing"
CERTIFICATES = "needs a certificate that OpenAI knows"
CLOUD = "calls another cloud's address"
NOT_RUN = {
    "openai": {
        "Kubernetes (service account tokens)": IDENTITY,
        "Azure (managed identity)": IDENTITY,
        "Google Cloud Platform (compute engine metadata)": IDENTITY,
        "Custom subject token provider": IDENTITY,
        "Custom subject token provider 2": IDENTITY,
        "X.509 workload identity (mutual TLS)": IDENTITY,
        "Realtime API": REALTIME,
        "Realtime error handling": REALTIME,
        "Pagination": TUNING,
        "Pagination 2": TUNING,
        "Pagination 3": TUNING,
        "Pagination 4": TUNING,
        "File uploads": FILES,
        "File uploads 2": FILES,
        "Parsing webhook payloads": WEBHOOKS,
        "Verifying webhook payloads directly": WEBHOOKS,
        "How to tell whether `None` means `null` or missing": "reads a field that stands for any",
        "Undocumented endpoints": "posts to /foo, which stands for any",
        "Configuring the HTTP client": "names a server and a proxy that stand for any",
        "Configuring the HTTP client 2": "leaves out what to configure",
        "Mutual TLS": CERTIFICATES,
        "Mutual TLS 2": CERTIFICATES,
        "Microsoft Azure OpenAI": CLOUD,
        "Amazon Bedrock": CLOUD,
        "Amazon Bedrock 2": CLOUD,
        "Amazon Bedrock 3": CLOUD,
        "Legacy `BedrockOpenAI` client": CLOUD,
    },
    "anthropic": {},
}
EXAMPLES = [
    (package, name)
    for package, not_run in NOT_RUN.items()
    for name in find_examples(package)
    if name not in not_run
]


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_readme_models) as opened:
        yield opened


@dataclass(frozen=True)
class Ran:
    """What each example said and where it broke, by its name, and whose calls they were."""

    examples: dict[str, dict[str, str]]
    tenant: Tenant


def run_examples(house: House, package: str) -> Ran:
    """Run what can run of a README in one process, for a tenant of its own."""
    tenant = make_tenant(f"{package} {random_base62(6)}")
    folder = house.folder / package
    (folder / "path/to").mkdir(parents=True)
    (folder / "path/to/image.png").write_bytes(b"a picture")
    found = find_examples(package)
    asked = {name: found[name] for each, name in EXAMPLES if each == package}
    ran = subprocess.run(
        [sys.executable, str(RUNNER)],
        input=json.dumps([package, asked]),
        cwd=folder,
        env=client_environment(house, tenant.key_text),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return Ran(json.loads(ran.stdout), tenant)


@pytest.fixture(scope="module")
def ran(house: House) -> dict[str, Ran]:
    return {package: run_examples(house, package) for package in NOT_RUN}


@pytest.mark.parametrize(("package", "name"), EXAMPLES)
def test_an_example_runs_unchanged(ran: dict[str, Ran], package: str, name: str) -> None:
    assert ran[package].examples[name]["broke"] == ""


@pytest.mark.parametrize("package", NOT_RUN)
def test_what_is_not_run_is_still_there(package: str) -> None:
    assert NOT_RUN[package].keys() <= find_examples(package).keys()


@pytest.mark.parametrize(
    ("package", "name", "said"),
    [
        ("openai", "Usage", "Let us look at check if a Python object"),
        ("openai", "Usage 2", "Here is a short answer about check if a Python object"),
        ("openai", "Handling errors", "Another non-200-range status code was received\n404\n"),
        ("openai", "Request IDs", "req_"),
        ("anthropic", "Getting started", "[TextBlock(citations=None, text='Hi there! "),
    ],
)
def test_an_example_says_what_its_reader_expects(
    ran: dict[str, Ran], package: str, name: str, said: str
) -> None:
    assert ran[package].examples[name]["said"].startswith(said)


@pytest.mark.parametrize(
    ("package", "model", "calls"), [("openai", MODELS[0], 16), ("anthropic", MODELS[1], 1)]
)
def test_each_call_of_an_example_is_charged(
    house: House, ran: dict[str, Ran], package: str, model: str, calls: int
) -> None:
    rows = UsageEvent.objects.filter(org_id=ran[package].tenant.org.pk)

    wait_for(lambda: rows.count() == calls, what=f"{calls} usage rows")
    assert {row.model for row in rows} == {model}
    assert {row.outcome for row in rows} <= {"completed", "disconnected"}
    assert_proven(house.stores.database_url, house.journals)

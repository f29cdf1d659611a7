"""The examples in both Python clients' READMEs run unchanged, as their installed packages say them.

Address and key come from the environment, where the clients look for them; an operator offers the
models. A new version's examples run by themselves; what cannot run here is named with its reason.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from tests.compat.documented import (
    ANTHROPIC_MODEL,
    OPENAI_MODEL,
    Ran,
    assert_charged,
    find_examples,
    offer_readme_models,
    run_examples,
)
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
FOUND = {
    package: find_examples(
        str(distribution(package).metadata.json["description"]), ("python", "py")
    )
    for package in NOT_RUN
}
EXAMPLES = [
    (package, name)
    for package, not_run in NOT_RUN.items()
    for name in FOUND[package]
    if name not in not_run
]


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_readme_models) as opened:
        yield opened


def run(house: House, package: str) -> Ran:
    folder = house.folder / package
    (folder / "path/to").mkdir(parents=True)
    (folder / "path/to/image.png").write_bytes(b"a picture")
    examples = {name: FOUND[package][name] for each, name in EXAMPLES if each == package}
    return run_examples(
        house, package, examples, runner=[sys.executable, str(RUNNER)], folder=folder
    )


@pytest.fixture(scope="module")
def ran(house: House) -> dict[str, Ran]:
    return {package: run(house, package) for package in NOT_RUN}


@pytest.mark.parametrize(("package", "name"), EXAMPLES)
def test_an_example_runs_unchanged(ran: dict[str, Ran], package: str, name: str) -> None:
    assert ran[package].examples[name]["broke"] == ""


@pytest.mark.parametrize("package", NOT_RUN)
def test_what_is_not_run_is_still_there(package: str) -> None:
    assert NOT_RUN[package].keys() <= FOUND[package].keys()


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
    ("package", "model", "calls"), [("openai", OPENAI_MODEL, 16), ("anthropic", ANTHROPIC_MODEL, 1)]
)
def test_each_call_of_an_example_is_charged(
    house: House, ran: dict[str, Ran], package: str, model: str, calls: int
) -> None:
    assert_charged(house, ran[package].tenant, calls={model: calls})

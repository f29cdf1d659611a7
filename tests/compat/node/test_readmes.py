"""The examples in both clients' READMEs run unchanged, as their installed packages say them.

Address and key come from the environment, where the clients look for them; an operator offers the
models. A new version's examples run by themselves; what cannot run here is named with its reason.
"""

import re

import pytest

from tests.compat.documented import (
    ANTHROPIC_MODEL,
    OPENAI_MODEL,
    Ran,
    assert_charged,
    find_examples,
    run_examples,
)
from tests.compat.node.play import FOLDER, NODE, needs_node
from tests.stage import House

pytestmark = needs_node

DENO = "is for Deno"
BUN = "is for Bun"
IDENTITY = "signs in at a cloud's own service"
FILES = "sends a file to be kept, which is not served"
WEBHOOKS = "receives OpenAI's webhooks in Next.js, and asks nothing"
TUNING = "lists jobs of fine-tuning, which is not served"
REALTIME = "speaks by a WebSocket of OpenAI's"
CLOUD = "calls another cloud's address"
FETCH = "names a package that stands for any"
NOT_RUN = {
    "openai": {
        "Installation with Deno": DENO,
        "Kubernetes (service account tokens)": IDENTITY,
        "Azure (managed identity)": IDENTITY,
        "GCP (compute engine metadata)": IDENTITY,
        "Custom subject token provider": IDENTITY,
        "Custom subject token provider 2": IDENTITY,
        "X.509 client certificates": IDENTITY,
        "File uploads": FILES,
        "Parsing webhook payloads": WEBHOOKS,
        "Verifying webhook payloads directly": WEBHOOKS,
        "Auto-pagination 2": TUNING,
        "Realtime API": REALTIME,
        "Microsoft Azure OpenAI": CLOUD,
        "Amazon Bedrock": CLOUD,
        "Custom logger": "logs with a package that is one of many",
        "Undocumented endpoints": "posts to /some/path, which stands for any",
        "Undocumented request params": "leaves out what to ask",
        "Customizing the fetch client": FETCH,
        "Customizing the fetch client 2": FETCH,
        "Configuring proxies": "names a proxy that stands for any",
        "Configuring proxies 2": BUN,
        "Configuring proxies 3": DENO,
        "Mutual TLS": "needs a certificate that OpenAI knows",
    },
    "@anthropic-ai/sdk": {},
}


def read_examples(package: str) -> dict[str, str]:
    """Return the examples of an installed package, none where it is not."""
    readme = FOLDER / "node_modules" / package / "README.md"
    return find_examples(readme.read_text("utf-8"), ("ts", "js")) if readme.is_file() else {}


FOUND = {package: read_examples(package) for package in NOT_RUN}
EXAMPLES = [
    (package, name)
    for package, not_run in NOT_RUN.items()
    for name in FOUND[package]
    if name not in not_run
]


def run(house: House, package: str) -> Ran:
    folder = house.folder / package
    folder.mkdir(parents=True)
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    examples = {name: FOUND[package][name] for each, name in EXAMPLES if each == package}
    runner = [str(NODE), str(FOLDER / "run_examples.mjs")]
    return run_examples(house, package, examples, runner=runner, folder=folder)


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
        ("openai", "Usage", "Here is a short answer about your question"),
        ("openai", "Multi-turn conversations", "Here is a short answer about your question"),
        ("openai", "Vision", "I have received 1 image"),
        ("openai", "Streaming responses", r"\{\n  type: 'response\.created'"),
        ("openai", "Handling errors", r"req_\w{20,}\n404\nfalse\nHeaders \{"),
        ("openai", "Request IDs", "req_"),
        ("@anthropic-ai/sdk", "Getting started", r"\[ \{ type: 'text', text: 'Hi there! "),
    ],
)
def test_an_example_says_what_its_reader_expects(
    ran: dict[str, Ran], package: str, name: str, said: str
) -> None:
    assert re.match(said, ran[package].examples[name]["said"])


@pytest.mark.parametrize(
    ("package", "model", "calls"),
    [("openai", OPENAI_MODEL, 10), ("@anthropic-ai/sdk", ANTHROPIC_MODEL, 1)],
)
def test_each_call_of_an_example_is_charged(
    house: House, ran: dict[str, Ran], package: str, model: str, calls: int
) -> None:
    assert_charged(house, ran[package].tenant, calls={model: calls})

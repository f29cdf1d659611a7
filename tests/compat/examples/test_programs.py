"""The programs in both Python clients' source packages, their own examples, run unchanged.

Address and key come from the environment, where the clients look for them; an operator offers the
models, with limits as their makers give them. A new version's examples run by themselves; what
cannot run here is named with its reason.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.prices import text_price
from gateway.deployments import change_model
from gateway.offers import create_model
from kernel.money import parse_usd
from tests.compat.documented import Ran, assert_charged, run_examples
from tests.factories import ACTOR
from tests.servers import ROOT
from tests.stage import House, open_house

FOLDER = ROOT / ".client-examples"
RUNNER = ROOT / "tests" / "compat" / "run_examples.py"
MODELS = (
    *("gpt-5.5", "gpt-5.2", "gpt-5", "gpt-4o-2024-08-06"),
    *("claude-sonnet-5-5", "claude-fable-5-1"),
)

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir() and not os.environ.get("CI"),
    reason="no .client-examples here: tests/compat/examples/install",
)

CLOUD = "calls another cloud's address"
IDENTITY = "signs in at a cloud's own service"
CERTIFICATES = "needs a certificate that OpenAI knows"
MEDIA = "makes or reads pictures, films or speech by endpoints that are not served"
SOCKET = "speaks by a WebSocket of OpenAI's"
STORED = "wants an answer, a thread or a batch that is kept at the server, and nothing is"
AGENTS = "runs agents at Anthropic's"
SERVER_TOOLS = "brings a tool that the server is to run, or whose form only Anthropic knows"
NOT_RUN = {
    "openai": {
        "audio": MEDIA,
        "azure": CLOUD,
        "azure_ad": CLOUD,
        "bedrock": CLOUD,
        "bedrock_runtime": CLOUD,
        "browser": "steers a browser by a tool of OpenAI's own",
        "browser-use-demo": "steers a browser by a tool of OpenAI's own",
        "computer-desktop": "steers a computer by a tool of OpenAI's own",
        "image_stream": MEDIA,
        "live": MEDIA,
        "module_client": "sets an address and a key that stand for any",
        "mtls_httpx": CERTIFICATES,
        "mtls_httpx2": CERTIFICATES,
        "mtls_httpx2_async": CERTIFICATES,
        "mtls_httpx_async": CERTIFICATES,
        "picture": MEDIA,
        "realtime": SOCKET,
        "responses/__init__": "is empty",
        "responses/background": STORED,
        "responses/background_async": STORED,
        "responses/background_streaming": STORED,
        "responses/background_streaming_async": STORED,
        "responses/multi_agent_streaming": "runs agents at OpenAI's",
        "responses/multi_agent_websocket": SOCKET,
        "responses/websocket": SOCKET,
        "responses_websocket": SOCKET,
        "speech_to_text": MEDIA,
        "text_to_speech": MEDIA,
        "uploads": "sends files to be kept, which is not served",
        "video": MEDIA,
        "x509_workload_identity": IDENTITY,
        "x509_workload_identity_async": IDENTITY,
    },
    "anthropic": {
        "agents": AGENTS,
        "agents_comprehensive": AGENTS,
        "agents_with_files": AGENTS,
        "azure": CLOUD,
        "batch_results": STORED,
        "bedrock": CLOUD,
        "google_cloud": CLOUD,
        "managed-agents-observe-tool-calls": AGENTS,
        "managed-agents-self-hosted-sandbox-worker": AGENTS,
        "managed-agents-streaming-deltas-manual": AGENTS,
        "managed-agents-worker-dispatch": AGENTS,
        "mcp_tool_runner": "fetches a server of tools from the network",
        "memory": SERVER_TOOLS,
        "message_threads": STORED,
        "vertex": CLOUD,
        "web_search": SERVER_TOOLS,
        "web_search_stream": SERVER_TOOLS,
        "workload_identity": IDENTITY,
    },
}


def find_programs(package: str) -> dict[str, Path]:
    """Return the examples of a package by their names, none where they were not fetched."""
    folder = FOLDER / package / "examples"
    files = sorted(folder.rglob("*.py"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


FOUND = {package: find_programs(package) for package in NOT_RUN}
EXAMPLES = [
    (package, name)
    for package, not_run in NOT_RUN.items()
    for name in FOUND[package]
    if name not in not_run and name.partition("/")[0] not in not_run
]


def offer_models() -> None:
    """Offer them as an operator would."""
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    for name in MODELS:
        create_model(name, provider="simulator", upstream_model=name, price=price, actor=ACTOR)
        change_model(name, {"max_output_tokens": 64_000}, actor=ACTOR)


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_models) as opened:
        yield opened


def run(house: House, package: str) -> Ran:
    examples = {
        str(FOUND[package][name]): FOUND[package][name].read_text(encoding="utf-8")
        for each, name in EXAMPLES
        if each == package
    }
    runner = [sys.executable, str(RUNNER)]
    return run_examples(house, package, examples, runner=runner, folder=house.folder)


@pytest.fixture(scope="module")
def ran(house: House) -> dict[str, Ran]:
    return {package: run(house, package) for package in NOT_RUN}


def result(ran: dict[str, Ran], package: str, name: str) -> dict[str, str]:
    return ran[package].examples[str(FOUND[package][name])]


@pytest.mark.parametrize(("package", "name"), EXAMPLES)
def test_an_example_runs_unchanged(ran: dict[str, Ran], package: str, name: str) -> None:
    example = result(ran, package, name)

    assert example["broke"] == ""
    assert example["said"] != ""


@pytest.mark.parametrize("package", NOT_RUN)
def test_what_is_not_run_is_still_there(package: str) -> None:
    found = FOUND[package].keys() | {name.partition("/")[0] for name in FOUND[package]}

    assert NOT_RUN[package].keys() <= found


@pytest.mark.parametrize(
    ("package", "name", "said"),
    [
        ("openai", "demo", "----- standard request -----\nThis is a test.\n"),
        ("anthropic", "tools_runner_deferred_streaming", "The model wants to run:\n"),
    ],
)
def test_an_example_says_what_its_reader_expects(
    ran: dict[str, Ran], package: str, name: str, said: str
) -> None:
    assert said in result(ran, package, name)["said"]


@pytest.mark.parametrize(
    ("package", "calls"),
    [
        ("openai", {"gpt-4o-2024-08-06": 8, "gpt-5.5": 6, "gpt-5.2": 1}),
        ("anthropic", {"claude-sonnet-5-5": 17, "claude-fable-5-1": 3}),
    ],
)
def test_each_call_of_an_example_is_charged(
    house: House, ran: dict[str, Ran], package: str, calls: dict[str, int]
) -> None:
    assert_charged(house, ran[package].tenant, calls=calls)

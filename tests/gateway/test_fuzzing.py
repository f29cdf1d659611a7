"""Every operation of the OpenAPI document, asked well and badly by schemathesis, at a live server.

1. What follows the document is answered, or refused for what a schema cannot say: never for its
   shape, which the document would have left out then.
2. What breaks the document is refused with a 4xx in the caller's dialect, and nothing moves.
3. Nothing is ever our fault, and every answer is one that the document names, in its form.

The examples are the same in every run; ``--long`` asks forty times as many.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from billing.models import Hold, UsageEvent
from gateway.openapi import build_document
from gateway.openapi.parts import LARGE_HEAD
from tests.api.customer import admin_key
from tests.books import assert_proven
from tests.calls import wait_for
from tests.stage import House, Stage

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What JSON Schema has no words for: the model's limits, base64, addresses, calls and their results,
# an input that only thinks, and what this house has switched off.
BEYOND_SCHEMAS = {
    "invalid_value",
    "invalid_image_url",
    "invalid_base64",
    "unsupported_value",
    "context_length_exceeded",
    "integer_above_max_value",
    "empty_array",
    "payments_off",
}
EXAMPLES = 12
MORE = 40


def _document() -> dict[str, Any]:
    """Return the document with models that there are, each operation once, and keys left to us."""
    document = deepcopy(build_document())
    del document["security"]
    document["paths"] = {
        name: path for name, path in document["paths"].items() if "$ref" not in path
    }
    for name, schema in document["components"]["schemas"].items():
        if "model" in schema.get("properties", {}) and name.endswith("Request"):
            model = "text-embedding-3-small" if name.startswith("Embed") else "hacxgpt"
            known = {"type": "string", "enum": [model]}
            schema["properties"]["model"] = known
            if "models" in schema["properties"]:
                schema["properties"]["models"]["items"] = known
    return document


def _operations() -> dict[str, Any]:
    found: list[Any] = list(schemathesis.openapi.from_dict(_document()).get_all_operations())
    return {each.ok().definition.raw["operationId"]: each.ok() for each in found}


OPERATIONS = _operations()
CAN_BE_WRONG = [
    name
    for name, operation in OPERATIONS.items()
    if {"parameters", "requestBody"} & set(operation.definition.raw)
]


@pytest.fixture(scope="module", autouse=True)
def _proof(house: House) -> Iterator[None]:
    """Prove the books once, after everything that was asked."""
    yield
    assert_proven(house.stores.database_url, house.journals)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_follows_the_document_is_never_refused_for_its_shape(
    stage: Stage, name: str, request: pytest.FixtureRequest
) -> None:
    def check(case: Any) -> None:
        case.body = _with_whole_numbers(case.body)
        answer = case.call(base_url=stage.api.url, headers=key_for(name), timeout=60)
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code == 400:
            error = answer.json()["error"]
            assert error.get("code", "invalid_value") in BEYOND_SCHEMAS, (error, case.body)

    key_for = _keys(stage)
    ask(OPERATIONS[name], GenerationMode.POSITIVE, request.config, check)


@pytest.mark.parametrize("name", CAN_BE_WRONG)
def test_what_breaks_the_document_is_refused_and_nothing_moves(
    stage: Stage, name: str, request: pytest.FixtureRequest
) -> None:
    answered: set[str] = set()

    def check(case: Any) -> None:
        answer = case.call(base_url=stage.api.url, headers=key_for(name), timeout=60)
        if answer.status_code == 200:  # what was wrong got lost on the wire
            answered.add(answer.headers["x-request-id"][0])
        # schemathesis does not know that a head may be too large for what is wrong to be seen
        is_excused = answer.status_code == LARGE_HEAD or _names_none_beside_others(case.body)
        judged = [] if is_excused else [negative_data_rejection]
        case.validate_response(answer, checks=[*CHECKS, *judged])

    key_for = _keys(stage)
    ask(OPERATIONS[name], GenerationMode.NEGATIVE, request.config, check)
    held = Hold.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: not held.filter(state="held").exists(), what="every hold's end")
    assert {hold.request_id for hold in held} <= answered
    assert {each.request_id for each in _usage(stage)} <= answered


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "getDocument"])
def test_without_a_key_everything_is_refused_in_the_callers_dialect(
    stage: Stage, name: str
) -> None:
    operation = OPERATIONS[name]
    path = re.sub(r"\{\w+\}", "x1", operation.path)
    schema = operation.definition.raw["responses"]["401"]

    answer = requests.request(operation.method, stage.api.url + path, json={}, timeout=10)

    assert answer.status_code == 401
    is_anthropics = "/anthropic/" in path
    assert schema["$ref"].endswith("Anthropic401" if is_anthropics else "OpenAI401")
    said = answer.json()
    assert said["error"]["type"] == (
        "authentication_error" if is_anthropics else "invalid_request_error"
    )
    assert is_anthropics or said["error"]["code"] is None


def ask(
    operation: Any, mode: GenerationMode, config: pytest.Config, check: Callable[[Any], None]
) -> None:
    """Ask an operation in many ways of this kind."""

    @settings(
        max_examples=EXAMPLES * (MORE if config.getoption("--long") else 1),
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        check(case)

    each()


def _keys(stage: Stage) -> Callable[[str], dict[str, str]]:
    admins = admin_key(stage.acme)

    def key_for(name: str) -> dict[str, str]:
        is_admins = "/organization/" in OPERATIONS[name].path
        return {"authorization": f"Bearer {admins if is_admins else stage.acme.key_text}"}

    return key_for


def _names_none_beside_others(body: Any) -> bool:
    """Tell whether ``model`` is empty beside ``models``, which is as if it were not there.

    It is wrong here alone, where the document names the models that there are.
    """
    return isinstance(body, dict) and body.get("model") == "" and bool(body.get("models"))


def _with_whole_numbers(value: Any) -> Any:
    """Write 3.0 as 3: to JSON Schema both are integers, to the contract only the second."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_with_whole_numbers(each) for each in value]
        case dict():
            return {name: _with_whole_numbers(each) for name, each in value.items()}
    return value


def _usage(stage: Stage) -> Any:
    return UsageEvent.objects.filter(org_id=stage.acme.org.pk)

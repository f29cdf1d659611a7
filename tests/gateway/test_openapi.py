"""The OpenAPI document: well formed, complete, and true of what is served."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson
import pytest
import requests

from billing import urls_api
from gateway import consumers
from gateway.openapi import build_document
from gateway.routes import routes
from tests.api.customer import admin_key
from tests.stage import Stage

DOCUMENT = build_document()
METHODS = ("get", "post", "delete")
UNDOCUMENTED = {
    consumers.StatusConsumer: "for whoever runs the process",
    consumers.UnknownPathConsumer: "answers 404",
    consumers.UnknownAnthropicPathConsumer: "answers 404",
}


def path_of(name: str) -> dict[str, Any]:
    """Return the operations of a path, of an alias those it refers to."""
    path: dict[str, Any] = DOCUMENT["paths"][name]
    if "$ref" in path:
        return path_of(path["$ref"].removeprefix("#/paths/").replace("~1", "/"))
    return path


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, path in DOCUMENT["paths"].items():
        for method, operation in path.items():
            if method in METHODS:
                yield name, method, operation


def served() -> dict[str, tuple[Any, set[str]]]:
    """Return what is behind every documented path, and the methods it takes."""
    found = {}
    for name in DOCUMENT["paths"]:
        path = re.sub(r"\{\w+\}", "x1", name).removeprefix("/")
        view = next((each for each in urls_api.urlpatterns if each.pattern.match(path)), None)
        if view is not None:
            callback: Any = view.callback
            found[name] = (view, {*callback.cls.http_method_names} - {"head"})
            continue
        first = next(each for each in routes if each.pattern.match(path))
        found[name] = (first, {consumer_of(first).method.lower()})
    return found


def consumer_of(route: Any) -> Any:
    return route.callback.consumer_class


def test_every_documented_path_is_served_by_exactly_the_documented_methods() -> None:
    behind = served()

    assert {name: methods for name, (_, methods) in behind.items()} == {
        name: set(path_of(name)) for name in DOCUMENT["paths"]
    }
    assert [
        name
        for name, (route, _) in behind.items()
        if getattr(route.callback, "consumer_class", None) in UNDOCUMENTED
    ] == []


def test_every_route_is_documented_under_every_prefix() -> None:
    everything: list[Any] = [*urls_api.urlpatterns, *routes]
    undocumented = [
        each
        for each in everything
        if getattr(each.callback, "consumer_class", None) not in UNDOCUMENTED
        and each not in [route for route, _ in served().values()]
    ]

    assert undocumented == []
    for name in DOCUMENT["paths"]:
        if name.startswith("/v1/"):
            rest = name.removeprefix("/v1")
            assert {"/api" + rest, "/api/v1" + rest} <= set(DOCUMENT["paths"])


def test_the_document_is_one_as_its_standard_wants_it() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    text = orjson.dumps(DOCUMENT).decode()

    assert DOCUMENT["openapi"].startswith("3.1.")
    assert len(ids) == len(set(ids))
    for pointer in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
        found: Any = DOCUMENT
        for key in pointer.split("/"):
            found = found[key.replace("~1", "/")]
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_it_is_served_under_every_prefix_and_needs_no_key(stage: Stage) -> None:
    answers = [
        requests.get(f"{stage.api.url}{prefix}/openapi.json", timeout=10)
        for prefix in ("/v1", "/api/v1", "/api")
    ]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].headers["content-type"] == "application/json"
    assert [answer.json() for answer in answers] == [DOCUMENT] * 3


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        pytest.param(name, each, id=each["operationId"])
        for name, method, each in operations()
        if method == "post" and "example" in str(each) and "organization" not in name
    ],
)
def test_every_example_is_answered_in_the_documented_form(
    stage: Stage, path: str, operation: dict[str, Any]
) -> None:
    content = operation["requestBody"]["content"]["application/json"]
    answer = requests.post(
        stage.api.url + path,
        json=content["example"],
        headers={"x-api-key": stage.acme.key_text},
        timeout=30,
    )

    assert answer.status_code == 200, answer.text
    check(content["schema"], content["example"])
    check(
        operation["responses"]["200"]["content"]["application/json"]["schema"],
        orjson.loads(answer.content),
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/{model}",
        "/anthropic/v1/models",
        "/anthropic/v1/models/{model}",
        "/v1/key",
        "/v1/credits",
        "/v1/organization/usage/completions",
        "/v1/organization/costs",
        "/v1/organization/topups",
        "/v1/organization/auto_topup",
        "/v1/organization/webhooks",
    ],
)
def test_what_is_read_has_the_documented_form(stage: Stage, path: str) -> None:
    key = admin_key(stage.acme) if "organization" in path else stage.acme.key_text
    answer = requests.get(
        stage.api.url + path.replace("{model}", "hacxgpt"),
        params={"start_time": 0} if "costs" in path or "usage" in path else {},
        headers={"authorization": f"Bearer {key}"},
        timeout=30,
    )

    assert answer.status_code == 200, answer.text
    responses = path_of(path)["get"]["responses"]
    check(responses["200"]["content"]["application/json"]["schema"], orjson.loads(answer.content))


def check(schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(value)

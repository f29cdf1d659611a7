"""The wire contract of paths, sizes and headers: the same on every alias, and on every answer."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from accounts.keys import KeySpec, mint_key
from billing.budgets import create_budget
from billing.models import Hold, UsageEvent
from billing.prices import text_price
from gateway.offers import create_model
from tests.calls import frames, post, wait_for
from tests.factories import ACTOR, make_tenant
from tests.gateway.test_contract_door import CHAT, DOORS, EMBEDDINGS, MESSAGES, Door, said
from tests.stage import Stage

ALIASES = ("/v1", "/api/v1", "/api")
LISTS = [f"{prefix}/models" for prefix in (*ALIASES, "/anthropic/v1")]
MOST_BYTES = 32 * 2**20
DURATION = re.compile(r"\d+ms|(\d+h)?(\d+m)?\d+s")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
BOTH = pytest.mark.parametrize("door", [CHAT, MESSAGES], ids=lambda door: door.path)


def ask(stage: Stage, door: Door, body: Any = None, **headers: str) -> requests.Response:
    sent = door.body if body is None else body
    return post(stage.api.url, stage.acme.key_text, sent, path=door.path, **headers)


def get(stage: Stage, path: str, key: str | None = None) -> requests.Response:
    headers = {"authorization": f"Bearer {key or stage.acme.key_text}"}
    return requests.get(stage.api.url + path, headers=headers, timeout=10)


def unnamed(value: Any) -> Any:
    """Leave out what is another in each answer."""
    if not isinstance(value, dict):
        return value
    return {name: said for name, said in value.items() if name not in {"id", "created"}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"seed": 7},
        {"stream": True, "seed": 7, "stream_options": {"include_usage": True}},
        {"temperature": 3},
        {"messages": []},
        {"model": "nope"},
        {"model": "hacxgpt-faulty", "stream": True},
    ],
)
def test_the_three_chat_paths_answer_alike(stage: Stage, fields: dict[str, Any]) -> None:
    answers = [
        ask(stage, Door(alias + "/chat/completions", {}), {**CHAT.body, **fields})
        for alias in ALIASES
    ]

    first, *others = [
        (
            answer.status_code,
            answer.headers["content-type"],
            [*map(unnamed, frames(answer.text) or [answer.json()])],
        )
        for answer in answers
    ]
    assert others == [first, first]


@pytest.mark.parametrize("door", DOORS)
def test_a_body_in_chunks_is_read_and_one_of_exactly_the_limit(stage: Stage, door: Door) -> None:
    sent = json.dumps(door.body).encode()

    def chunked(size: int) -> Iterator[bytes]:
        padded = sent.ljust(size)
        for start in range(0, size, 2**20):
            yield padded[start : start + 2**20]

    def status(size: int) -> int:
        headers = {"x-api-key": stage.acme.key_text}
        answer = requests.post(
            stage.api.url + door.path, data=chunked(size), headers=headers, timeout=30
        )
        return answer.status_code

    assert status(len(sent)) == 200
    assert ask(stage, door, sent.ljust(MOST_BYTES)).status_code == 200
    assert status(MOST_BYTES) == 200
    assert status(MOST_BYTES + 1) == 413


@pytest.mark.parametrize("path", LISTS)
def test_an_id_with_slashes_is_the_whole_rest_of_the_path(stage: Stage, path: str) -> None:
    name = f"team/model/{stage.acme.org.pk}"
    create_model(
        name, provider="simulator", upstream_model="x", price=text_price(1, 1), actor=ACTOR
    )

    coded = wait_for(
        lambda: [
            found
            for found in [get(stage, f"{path}/{name.replace('/', '%2F')}")]
            if found.status_code == 200
        ]
    )[0]

    assert coded.json()["id"] == name
    assert get(stage, f"{path}/{name}").json() == coded.json()
    assert get(stage, f"{path}/team").status_code == 404


@pytest.mark.parametrize("path", LISTS)
def test_a_list_needs_a_key_and_no_credit_and_costs_nothing(stage: Stage, path: str) -> None:
    poor = make_tenant("Poor", credit_usd="0")

    statuses = [get(stage, path + end, poor.key_text).status_code for end in ("", "/", "/hacxgpt")]
    unknown = get(stage, path + "/no/such", poor.key_text)
    without = [requests.get(stage.api.url + path + end, timeout=10) for end in ("", "/hacxgpt")]

    assert statuses == [200, 200, 200]
    assert unknown.status_code == 404
    assert "no/such" in unknown.json()["error"]["message"]
    assert [answer.status_code for answer in without] == [401, 401]
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()
    assert not UsageEvent.objects.filter(org_id=poor.org.pk).exists()


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=no-such"])
def test_a_page_of_models_that_does_not_exist_is_400(stage: Stage, query: str) -> None:
    answer = get(stage, f"/anthropic/v1/models?{query}")

    assert said(answer) == (400, "invalid_request_error")


def test_pages_of_models_go_both_ways_and_end(stage: Stage) -> None:
    def page(query: str) -> Any:
        return get(stage, f"/anthropic/v1/models?{query}").json()

    whole = page("limit=1000")
    ids = [model["id"] for model in whole["data"]]
    second = page(f"limit=1&after_id={ids[0]}")
    before = page(f"limit=1&before_id={ids[1]}")

    assert (whole["has_more"], whole["first_id"], whole["last_id"]) == (False, ids[0], ids[-1])
    assert ([model["id"] for model in second["data"]], second["has_more"]) == ([ids[1]], True)
    assert [model["id"] for model in before["data"]] == [ids[0]]


def test_a_page_of_models_has_twenty_unless_asked_otherwise(stage: Stage) -> None:
    for number in range(21):
        name = f"paged-{number}-{stage.acme.org.pk}"
        create_model(
            name, provider="simulator", upstream_model="x", price=text_price(1, 1), actor=ACTOR
        )
    wait_for(lambda: get(stage, f"/anthropic/v1/models/{name}").status_code == 200, what=name)

    page = get(stage, "/anthropic/v1/models").json()

    assert (len(page["data"]), page["has_more"]) == (20, True)


@pytest.mark.parametrize("sent", ["", [], [""], ["a", 1], [1, "a"], [[1], 2], [-1], [[5, -1]]])
@pytest.mark.parametrize("alias", ALIASES)
def test_a_wrong_input_of_embeddings_is_400_by_its_name(
    stage: Stage, alias: str, sent: Any
) -> None:
    answer = ask(stage, Door(alias + "/embeddings", {}), {**EMBEDDINGS.body, "input": sent})

    assert said(answer) == (400, "invalid_request_error")
    assert answer.json()["error"]["param"] == "input"
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


def assert_shows_limits(answer: requests.Response, door: Door) -> None:
    for unit in ("requests", "tokens"):
        limit = int(answer.headers[f"x-ratelimit-limit-{unit}"])
        assert 0 <= int(answer.headers[f"x-ratelimit-remaining-{unit}"]) <= limit
        assert DURATION.fullmatch(answer.headers[f"x-ratelimit-reset-{unit}"])
    kinds = ("requests", "tokens", "input-tokens", "output-tokens") if door.is_anthropics else ()
    for kind in kinds:
        limit = int(answer.headers[f"anthropic-ratelimit-{kind}-limit"])
        assert 0 <= int(answer.headers[f"anthropic-ratelimit-{kind}-remaining"]) <= limit
        assert MOMENT.fullmatch(answer.headers[f"anthropic-ratelimit-{kind}-reset"])
    named = [name for name in answer.headers if name.lower().startswith("anthropic-ratelimit")]
    assert len(named) == 3 * len(kinds)


@pytest.mark.parametrize("door", DOORS)
def test_every_answer_to_a_good_key_shows_its_limits_and_an_id(stage: Stage, door: Door) -> None:
    narrow = mint_key(stage.acme.project, KeySpec(allowed_models=["gpt-4o"]), actor=ACTOR).text
    bound = mint_key(stage.acme.project, KeySpec(), actor=ACTOR)
    create_budget(org=stage.acme.org, key=bound.key, limit_nanos=1, period="day", actor=ACTOR)
    poor = make_tenant("Poor", credit_usd="0.000000001").key_text
    hasty = make_tenant("Hasty", spec=KeySpec(name="hasty", rpm=1)).key_text
    once = {"idempotency-key": "a"}
    own = stage.acme.key_text
    asked: list[tuple[str, Any, dict[str, str]]] = [
        (own, door.body, once),
        (own, door.body, once),
        (own, {**door.body, "user": "bob"}, once),
        (own, {**door.body, "stream": True} if door is not EMBEDDINGS else door.body, {}),
        (own, b"{", {}),
        (own, {**door.body, "model": "nope"}, {}),
        (narrow, door.body, {}),
        (poor, door.body, {}),
        (bound.text, door.body, {}),
        (hasty, b"{", {}),
        (hasty, door.body, {}),
    ]

    answers = [
        post(stage.api.url, key, body, path=door.path, **headers) for key, body, headers in asked
    ]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 200, 422, 200, 400, 404, 403, 402, 429, 400, 429]
    for answer in answers:
        assert_shows_limits(answer, door)
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [answer.headers["request-id"] for answer in answers] == ids
    assert len(set(ids)) == len(ids)


@BOTH
def test_what_a_caller_accepts_makes_no_stream_and_ends_none(stage: Stage, door: Door) -> None:
    streamed = {**door.body, "stream": True}

    whole = ask(stage, door, accept="text/event-stream")
    streams = [
        ask(stage, door, streamed, accept=kind) for kind in ("text/html", "application/json")
    ]

    assert whole.headers["content-type"] == "application/json"
    kinds = {answer.headers["content-type"] for answer in streams}
    assert kinds == {"text/event-stream; charset=utf-8"}


@BOTH
def test_tokens_a_minute_are_said_after_parameters_and_before_money(
    stage: Stage, door: Door
) -> None:
    spec = KeySpec(name="narrow", tpm=20)
    poor = make_tenant("Poor", credit_usd="0.000000001", spec=spec)
    create_budget(org=poor.org, limit_nanos=1, period="day", actor=ACTOR)
    large = {**door.body, "max_tokens": 500}

    def refused(body: Any) -> tuple[int, str]:
        answer = post(stage.api.url, poor.key_text, body, path=door.path)
        return answer.status_code, answer.json()["error"]["message"]

    assert refused({**large, "temperature": "warm"})[0] == 400
    status, why = refused(large)
    assert (status, "tokens per minute of this key: 20" in why) == (429, True)
    status, why = refused({**door.body, "max_tokens": 1})
    assert (status, "budget" in why) == (429, True)
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()


@BOTH
def test_a_refusal_leaves_its_idempotency_key_free(stage: Stage, door: Door) -> None:
    once = {"idempotency-key": "free"}

    refused = ask(stage, door, {**door.body, "model": "nope"}, **once)
    served = ask(stage, door, **once)

    assert (refused.status_code, served.status_code) == (404, 200)
    assert "idempotent-replayed" not in served.headers
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 1)

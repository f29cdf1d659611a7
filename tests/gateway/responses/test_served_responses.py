"""Responses on live paths: what is asked is said again, nothing is kept, events in their order."""

from itertools import groupby
from typing import Any

import orjson
import pytest
import requests
from openai.types.responses.response_usage import InputTokensDetails

from billing.models import Hold, UsageEvent
from tests.calls import post
from tests.gateway.responses.asking import TOOL
from tests.stage import Stage

ALIASES = pytest.mark.parametrize("alias", ["/v1", "/api/v1", "/api"])
FORM = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": False}
FIELDS = {
    "id", "object", "created_at", "status", "model", "output", "parallel_tool_calls",
    "tool_choice", "tools", "error", "incomplete_details", "usage",
}  # fmt: skip


def ask(stage: Stage, alias: str = "/v1", **fields: Any) -> requests.Response:
    body = {"model": "hacxgpt", "input": "Say hello", **fields}
    return post(stage.api.url, stage.acme.key_text, body, path=f"{alias}/responses")


def kinds_of(answer: requests.Response) -> list[str]:
    """Return the kinds of a stream's events in order, each stretch of equal ones once."""
    assert answer.status_code == 200, answer.text
    names = []
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        assert orjson.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")
        names.append(name.removeprefix("event: response."))
    return [kind for kind, _ in groupby(names)]


@ALIASES
def test_every_field_is_taken_and_said_again_on_every_alias(stage: Stage, alias: str) -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief.",
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.25,
        "tools": [{**TOOL, "strict": True}],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "text": {"format": FORM},
        "metadata": {"a": "b"},
        "store": False,
    }

    answer = ask(stage, alias, **asked)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() >= FIELDS
    assert {name: body[name] for name in asked} == asked
    assert body["id"].startswith("resp_")
    assert (body["object"], body["status"], body["model"]) == ("response", "completed", "hacxgpt")
    assert (body["error"], body["incomplete_details"]) == (None, None)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}


def test_the_newest_client_demands_the_tokens_that_were_written_to_a_cache() -> None:
    assert InputTokensDetails.model_fields["cache_write_tokens"].is_required()


@pytest.mark.parametrize("store", [None, False, True])
def test_no_response_is_kept_whatever_is_asked(stage: Stage, store: bool | None) -> None:  # noqa: FBT001 # parametrized
    body = ask(stage, store=store).json()

    found = requests.get(
        f"{stage.api.url}/v1/responses/{body['id']}",
        headers={"x-api-key": stage.acme.key_text},
        timeout=10,
    )

    assert body["store"] is False
    assert (found.status_code, found.json()["error"]["code"]) == (404, "unknown_url")


@ALIASES
def test_the_events_of_a_text_come_in_their_order(stage: Stage, alias: str) -> None:
    assert kinds_of(ask(stage, alias, stream=True)) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_the_events_of_a_call_come_in_their_order(stage: Stage) -> None:
    answer = ask(stage, stream=True, input="What is the weather in Oslo?", tools=[TOOL])

    assert kinds_of(answer) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_the_events_of_a_text_that_its_limit_cuts_end_incomplete(stage: Stage) -> None:
    answer = ask(stage, stream=True, input="Tell me a story", max_output_tokens=5)

    assert kinds_of(answer)[-2:] == ["output_item.done", "incomplete"]


@ALIASES
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": None}, (400, "missing_required_parameter", "model")),
        ({"model": "no/such"}, (404, "model_not_found", "model")),
        ({"input": None}, (400, "missing_required_parameter", "input")),
        ({"input": []}, (400, "empty_array", "input")),
        ({"max_output_tokens": 0}, (400, "integer_below_min_value", "max_output_tokens")),
        ({"tools": [{"type": "web_search"}]}, (400, "unsupported_value", "tools[0].type")),
        ({"tool_choice": "required"}, (400, "invalid_value", "tool_choice")),
    ],
)
def test_what_is_wrong_is_refused_as_plain_json_and_nothing_moves(
    stage: Stage, alias: str, fields: Any, said: tuple[int, str, str], *, streamed: bool
) -> None:
    answer = ask(stage, alias, stream=streamed, **fields)

    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert (answer.status_code, error["code"], error["param"]) == said
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()

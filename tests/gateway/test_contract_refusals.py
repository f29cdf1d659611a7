"""The wire contract of faults and of sending again, on live paths in every dialect."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
import requests

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import post, wait_for
from tests.gateway.test_contract_door import CHAT, DOORS, EMBEDDINGS, MESSAGES, RESPONSES, Door
from tests.stage import Stage

TALKING = [pytest.param(door, id=door.path) for door in (CHAT, RESPONSES, MESSAGES)]
BROKEN_OFF = "The model's provider broke off its answer."


def ask(stage: Stage, door: Door, body: Any = None, **headers: str) -> requests.Response:
    sent = door.body if body is None else body
    return post(stage.api.url, stage.acme.key_text, sent, path=door.path, **headers)


def usage(stage: Stage) -> list[UsageEvent]:
    """Return what was charged, once nothing is held any more."""
    held = Hold.objects.filter(org_id=stage.acme.org.pk, state="held")
    wait_for(lambda: not held.exists(), what="every hold's end")
    return list(UsageEvent.objects.filter(org_id=stage.acme.org.pk))


def events_of(answer: requests.Response) -> list[tuple[str, Any]]:
    """Return a stream's frames: the name, or nothing, and the data, parsed where it is JSON."""
    found = []
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        *name, data = frame.split("\n")
        said = data.removeprefix("data: ")
        value = said if said == "[DONE]" else orjson.loads(said)
        found.append((name[0].removeprefix("event: ") if name else "", value))
    return found


def test_a_chat_that_breaks_ends_with_an_error_and_done(stage: Stage) -> None:
    body = {**CHAT.body, "model": "hacxgpt-faulty", "stream": True}

    *said, (_, broken), (_, done) = events_of(ask(stage, CHAT, body))

    assert broken == {
        "error": {
            "message": BROKEN_OFF,
            "type": "server_error",
            "param": None,
            "code": "upstream_error",
        }
    }
    assert done == "[DONE]"
    assert said
    ends = [choice["finish_reason"] for _, chunk in said for choice in chunk["choices"]]
    assert set(ends) == {None}
    assert [event.outcome for event in usage(stage)] == ["truncated"]
    assert_proven(stage.stores.database_url, stage.journals)


def test_messages_that_break_end_with_an_error_and_nothing_more(stage: Stage) -> None:
    answer = ask(stage, MESSAGES, {**MESSAGES.body, "model": "hacxgpt-faulty", "stream": True})

    *said, (name, broken) = events_of(answer)

    assert name == "error"
    assert broken == {
        "type": "error",
        "error": {"type": "api_error", "message": BROKEN_OFF},
        "request_id": answer.headers["request-id"],
    }
    assert {"message_delta", "message_stop"} & {name for name, _ in said} == set()
    assert [event.outcome for event in usage(stage)] == ["truncated"]


def test_responses_that_break_end_with_an_error_and_a_failed_response(stage: Stage) -> None:
    answer = ask(stage, RESPONSES, {**RESPONSES.body, "model": "hacxgpt-faulty", "stream": True})

    *said, (name, broken), (last, failed) = events_of(answer)

    assert (name, last) == ("error", "response.failed")
    assert broken == {
        "type": "error",
        "sequence_number": len(said),
        "code": "server_error",
        "message": BROKEN_OFF,
        "param": None,
    }
    assert failed["sequence_number"] == len(said) + 1
    assert failed["response"]["error"] == {"code": "server_error", "message": BROKEN_OFF}
    assert [event.outcome for event in usage(stage)] == ["truncated"]


@pytest.mark.parametrize("door", TALKING)
def test_a_whole_answer_that_breaks_is_502_and_costs_nothing(stage: Stage, door: Door) -> None:
    answer = ask(stage, door, {**door.body, "model": "hacxgpt-faulty"})

    error = answer.json()["error"]
    assert (answer.status_code, error["message"]) == (502, BROKEN_OFF)
    assert error["type"] == ("api_error" if door.is_anthropics else "server_error")
    assert usage(stage) == []


@pytest.mark.parametrize("door", TALKING)
def test_a_prompt_beyond_the_context_says_by_how_much(stage: Stage, door: Door) -> None:
    text = "word " * 130_000
    said = (
        {"input": text}
        if "input" in door.body
        else {"messages": [{"role": "user", "content": text}]}
    )

    answer = ask(stage, door, {**door.body, **said})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    if door.is_anthropics:
        assert error["message"].startswith("prompt is too long: ")
        assert error["message"].endswith(" tokens > 128000 maximum")
    else:
        field = "input" if "input" in said else "messages"
        assert (error["code"], error["param"]) == ("context_length_exceeded", field)
        assert "maximum context length is 128000 tokens" in error["message"]
    assert usage(stage) == []


@pytest.mark.parametrize("door", DOORS)
def test_a_body_that_is_too_large_is_413(stage: Stage, door: Door) -> None:
    answer = ask(stage, door, b" " * (32 * 2**20 + 1))

    kind = "request_too_large" if door.is_anthropics else "invalid_request_error"
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, kind)
    assert door.is_anthropics or answer.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("door", DOORS)
def test_a_key_is_never_said_again(stage: Stage, door: Door) -> None:
    wrong = stage.acme.key_text[:-1] + ("0" if stage.acme.key_text[-1] != "0" else "1")

    for key in (wrong, "sk-" + wrong, "hk-proj-é"):
        answer = requests.post(
            stage.api.url + door.path,
            json=door.body,
            headers={"x-api-key": key.encode()},
            timeout=10,
        )
        assert answer.status_code == 401
        assert key[8:] not in answer.text
        assert wrong[20:] not in answer.text


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_sent_again_is_answered_again_and_billed_once(
    stage: Stage, door: Door, *, stream: bool
) -> None:
    body = {**door.body, "stream": True} if stream and door is not EMBEDDINGS else door.body
    key = {"idempotency-key": "k" * 255}
    first = ask(stage, door, body, **key)

    again = ask(stage, door, body, **key)
    other = ask(stage, door, {**body, "user": "bob"}, **key)
    too_long = ask(stage, door, body, **{"idempotency-key": "k" * 256})

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (other.status_code, other.json()["error"]["type"]) == (422, "invalid_request_error")
    assert door.is_anthropics or other.json()["error"]["code"] == "idempotency_key_reused"
    assert (too_long.status_code, too_long.json()["error"]["type"]) == (
        400,
        "invalid_request_error",
    )
    assert [event.request_id for event in usage(stage)] == [first.headers["x-request-id"]]
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("door", [CHAT, RESPONSES, EMBEDDINGS], ids=lambda door: door.path)
def test_aliases_are_one_endpoint_to_an_idempotency_key(stage: Stage, door: Door) -> None:
    aliases = [replace(door, path=alias + door.path[3:]) for alias in ("/api", "/api/v1")]

    answers = [ask(stage, each, **{"idempotency-key": "a"}) for each in (door, *aliases)]

    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [
        None,
        "true",
        "true",
    ]
    assert len(usage(stage)) == 1


def test_another_endpoint_or_key_is_another_idempotency_key(stage: Stage) -> None:
    answers = [ask(stage, each, **{"idempotency-key": "a"}) for each in (CHAT, RESPONSES, MESSAGES)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None] * 3
    assert len(usage(stage)) == 3

"""Anthropic's official SDK against a live server, on both servers."""

import asyncio
import json
from typing import Any

import anthropic
import pytest
import requests
from anthropic import Anthropic, AsyncAnthropic

from accounts.keys import KeySpec
from billing.models import UsageEvent
from kernel.ids import random_base62
from tests.books import assert_proven
from tests.calls import post, wait_for
from tests.factories import make_tenant
from tests.gateway.dialects.anthropic_asking import WEATHER
from tests.stage import Stage

MESSAGES = "/anthropic/v1/messages"
STORY: Any = [{"role": "user", "content": "Tell me a story"}]
WEATHER_TOOL: Any = WEATHER


def client(stage: Stage, key: str | None = None) -> Anthropic:
    url = stage.api.url + "/anthropic"
    return Anthropic(api_key=key or stage.acme.key_text, base_url=url, max_retries=0)


def usage_of(stage: Stage) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


def test_the_capital_of_france(stage: Stage) -> None:
    message = client(stage).messages.create(
        model="hacxgpt",
        max_tokens=1024,
        system="You are a helpful assistant.",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )

    block = message.content[0]
    assert block.type == "text"
    assert block.text == "The capital of France is Paris."
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3 + 4 + 7 + 4 + 7, 7)
    usage = usage_of(stage)
    assert (usage.input, usage.output, usage.evidence) == (25, 7, "provider")
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_call_is_found_by_the_id_of_its_message(stage: Stage) -> None:
    message = client(stage).messages.create(model="hacxgpt", max_tokens=10, messages=STORY)
    usage_of(stage)

    found = requests.get(
        stage.api.url + "/v1/generation",
        params={"id": message.id},
        headers={"x-api-key": stage.acme.key_text},
        timeout=10,
    )

    assert found.status_code == 200
    assert found.json()["request_id"] == "req_" + message.id.removeprefix("msg_")


def test_a_story_through_the_stream_helper_equals_the_whole_answer(stage: Stage) -> None:
    with client(stage).messages.stream(model="hacxgpt", max_tokens=1024, messages=STORY) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    whole = client(stage).messages.create(model="hacxgpt", max_tokens=1024, messages=STORY)

    assert len(pieces) > 20
    said = whole.content[0]
    assert said.type == "text"
    assert "".join(pieces) == said.text
    assert [block.type for block in final.content] == ["text"]
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens
    assert final.stop_reason == "end_turn"


def test_many_streams_at_once_through_the_asynchronous_client(stage: Stage) -> None:
    async def tell() -> list[str]:
        url = stage.api.url + "/anthropic"
        async with AsyncAnthropic(api_key=stage.acme.key_text, base_url=url) as asynchronous:

            async def one() -> str:
                async with asynchronous.messages.stream(
                    model="hacxgpt", max_tokens=1024, messages=STORY
                ) as stream:
                    return await stream.get_final_text()

            return await asyncio.gather(*[one() for _ in range(8)])

    texts = asyncio.run(tell())

    assert len(set(texts)) == 1
    assert len(texts[0]) > 100


def test_raw_events_come_in_their_order(stage: Stage) -> None:
    events = client(stage).messages.create(
        model="hacxgpt",
        max_tokens=1024,
        messages=[{"role": "user", "content": "Say hello"}],
        stream=True,
    )

    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_answered_and_reported(stage: Stage, *, streamed: bool) -> None:
    opened = client(stage)
    ask: dict[str, Any] = {"model": "hacxgpt", "max_tokens": 1024, "tools": [WEATHER_TOOL]}
    question: Any = {"role": "user", "content": "What is the weather in San Francisco?"}

    def say(messages: Any) -> Any:
        if not streamed:
            return opened.messages.create(**ask, messages=messages)
        with opened.messages.stream(**ask, messages=messages) as stream:
            return stream.get_final_message()

    called = say([question])
    block = called.content[0]
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "15 degrees"}
    answered = say(
        [
            question,
            {"role": "assistant", "content": called.content},
            {"role": "user", "content": [result]},
        ]
    )

    assert called.stop_reason == "tool_use"
    assert (block.type, block.name) == ("tool_use", "get_weather")
    assert block.id.startswith("toolu_")
    assert block.input == {"location": "San Francisco"}
    assert answered.stop_reason == "end_turn"
    assert answered.content[0].text == "Here is what I found: 15 degrees"


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_is_shown_signed_and_taken_back(stage: Stage, *, streamed: bool) -> None:
    opened = client(stage)
    ask: Any = {
        "model": "hacxgpt",
        "max_tokens": 2048,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    question: Any = {"role": "user", "content": "What is 2+2?"}
    message: Any
    if streamed:
        with opened.messages.stream(**ask, messages=[question]) as stream:
            message = stream.get_final_message()
    else:
        message = opened.messages.create(**ask, messages=[question])

    thinking, text = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking.startswith('The last message says: "What is 2+2?".')
    assert thinking.signature
    assert text.type == "text"
    assert text.text == "2+2 equals 4."
    assert message.usage.output_tokens == 33 + 6
    assert message.usage.output_tokens_details is not None
    assert message.usage.output_tokens_details.thinking_tokens == 33
    again = opened.messages.create(
        **ask,
        messages=[
            question,
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": "And 5+3?"},
        ],
    )
    assert again.content[-1].type == "text"


def test_structured_output_fits_its_schema(stage: Stage) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 1}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }

    message = client(stage).messages.create(
        model="hacxgpt",
        max_tokens=1024,
        messages=[{"role": "user", "content": "Describe a city."}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )

    block = message.content[0]
    assert block.type == "text"
    assert set(json.loads(block.text)) == {"city", "people"}


def test_pictures_and_documents_are_acknowledged_and_counted(stage: Stage) -> None:
    message = client(stage).messages.create(
        model="hacxgpt",
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Compare."},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                    },
                    {
                        "type": "document",
                        "source": {
                            "type": "base64",
                            "media_type": "application/pdf",
                            "data": "JVBERi0=",
                        },
                    },
                ],
            }
        ],
    )

    block = message.content[0]
    assert block.type == "text"
    assert block.text.startswith("I have received 1 image and 1 document.")
    assert message.usage.input_tokens == 3 + 4 + 2 + 765 + 1500 + 1


def test_a_stop_sequence_ends_the_answer_and_is_named(stage: Stage) -> None:
    message = client(stage).messages.create(
        model="hacxgpt",
        max_tokens=100,
        stop_sequences=[" 4"],
        messages=[{"role": "user", "content": "Count from 1 to 10."}],
    )

    block = message.content[0]
    assert block.type == "text"
    assert block.text == "1, 2, 3,"
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " 4")


def test_a_count_is_what_the_same_call_is_billed_and_costs_nothing(stage: Stage) -> None:
    opened = client(stage)
    ask: Any = {"model": "hacxgpt", "messages": STORY, "system": "Be brief.", "tools": [WEATHER]}

    counted = opened.messages.count_tokens(**ask).input_tokens
    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 0
    message = opened.messages.create(**ask, max_tokens=100)

    assert counted == message.usage.input_tokens
    assert usage_of(stage).input == counted


def test_the_beta_surface_is_the_same_endpoint(stage: Stage) -> None:
    message = client(stage).beta.messages.create(
        model="hacxgpt",
        max_tokens=100,
        betas=["something-2026"],
        messages=[{"role": "user", "content": "Say hello"}],
    )

    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello!"


def test_models_are_listed_by_pages_and_found(stage: Stage) -> None:
    opened = client(stage)

    names = [model.id for model in opened.models.list(limit=3)]
    page = opened.models.list(limit=3)

    assert len(page.data) == 3
    assert page.has_more is True
    assert len(names) == len(set(names)) > 8
    assert "hacxgpt" in names
    found = opened.models.retrieve("hacxgpt")
    assert (found.id, found.type, found.lifecycle) == ("hacxgpt", "model", "active")
    with pytest.raises(anthropic.NotFoundError) as caught:
        opened.models.retrieve("no/such")
    assert "no/such" in str(caught.value)


def error_of(stage: Stage, kind: type[anthropic.APIStatusError], **fields: Any) -> Any:
    key = fields.pop("key", None)
    ask: Any = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY, **fields}
    with pytest.raises(kind) as caught:
        client(stage, key).messages.create(**ask)
    error = caught.value
    body: Any = error.body
    assert body["request_id"] == error.request_id
    assert body["request_id"].startswith("req_")
    return error


def test_errors_arrive_as_the_sdks_own(stage: Stage) -> None:
    wrong = error_of(stage, anthropic.AuthenticationError, key="hk-proj-wrong")
    assert wrong.body["error"]["type"] == "authentication_error"
    unknown = error_of(stage, anthropic.NotFoundError, model="no-such-model")
    assert "no-such-model" in unknown.body["error"]["message"]
    empty = error_of(stage, anthropic.BadRequestError, messages=[])
    assert empty.body["error"]["message"] == "messages: at least one message is required"
    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 0


def test_no_credit_is_402_and_a_rate_limit_429(stage: Stage) -> None:
    poor = make_tenant(f"Poor {random_base62(6)}", credit_usd="0")
    hasty = make_tenant(f"Hasty {random_base62(6)}", spec=KeySpec(name="hasty", rpm=1))

    broke = error_of(stage, anthropic.APIStatusError, key=poor.key_text)
    assert broke.status_code == 402
    assert broke.body["error"]["type"] == "billing_error"
    assert "credit" in broke.body["error"]["message"]
    assert broke.response.headers["x-should-retry"] == "false"
    client(stage, hasty.key_text).messages.create(model="hacxgpt", max_tokens=10, messages=STORY)
    limited = error_of(stage, anthropic.RateLimitError, key=hasty.key_text)
    assert limited.body["error"]["type"] == "rate_limit_error"
    assert 1 <= int(limited.response.headers["retry-after"]) <= 60


def test_a_broken_stream_raises(stage: Stage) -> None:
    events = client(stage).messages.create(
        model="hacxgpt-faulty", max_tokens=1024, messages=STORY, stream=True
    )

    with pytest.raises(anthropic.APIStatusError) as caught:
        list(events)
    body: Any = caught.value.body
    assert body["error"]["type"] == "api_error"
    assert body["request_id"].startswith("req_")


@pytest.mark.parametrize("path", [MESSAGES, MESSAGES + "?beta=true", MESSAGES + "/"])
def test_both_ways_to_send_a_key_work_and_x_api_key_wins(stage: Stage, path: str) -> None:
    body = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY}

    def status(**headers: str) -> int:
        url = stage.api.url + path
        return requests.post(url, json=body, headers=headers, timeout=30).status_code

    good, bad = stage.acme.key_text, "hk-proj-wrong"
    assert status(Authorization=f"Bearer {good}") == 200
    assert status(**{"x-api-key": good, "anthropic-version": "2099-01-01"}) == 200
    assert status(**{"x-api-key": good, "Authorization": f"Bearer {bad}"}) == 200
    assert status(**{"x-api-key": bad, "Authorization": f"Bearer {good}"}) == 401
    assert status() == 401


def test_a_stream_on_the_wire_has_the_headers_and_the_same_request_id(stage: Stage) -> None:
    body = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY, "stream": True}

    answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    start = json.loads(answer.text.split("\n")[1].removeprefix("data: "))
    assert start["message"]["id"] == "msg_" + answer.headers["request-id"].removeprefix("req_")
    assert answer.text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert "anthropic-ratelimit-requests-remaining" in answer.headers
    assert "x-ratelimit-remaining-requests" in answer.headers


def test_other_methods_and_paths_are_refused_in_this_dialect(stage: Stage) -> None:
    url = stage.api.url + "/anthropic/v1"

    method = requests.get(url + "/messages", timeout=10)
    path = requests.post(url + "/complete", timeout=10)

    assert (method.status_code, method.headers["allow"]) == (405, "POST")
    assert method.json()["error"]["type"] == "invalid_request_error"
    assert path.status_code == 404
    assert path.json()["error"]["type"] == "not_found_error"


def test_a_repeated_idempotency_key_is_answered_again_and_billed_once(stage: Stage) -> None:
    body = {"model": "hacxgpt", "max_tokens": 10, "messages": STORY, "stream": True}

    def send(path: str = MESSAGES) -> requests.Response:
        sent = {"Idempotency-Key": "once"}
        return post(stage.api.url, stage.acme.key_text, body, path=path, **sent)

    first, again = send(), send()

    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 1)
    assert send("/v1/chat/completions").status_code == 200
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 2)

"""Responses through OpenAI's own client, before every kind of provider."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, OpenAI
from pydantic import BaseModel

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import post, wait_for
from tests.claude import running_claude
from tests.servers import Server
from tests.stage import House, Stage

PATH = "/v1/responses"
MODELS = ["hacxgpt", "mock", "claude"]
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get current weather",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Colors(BaseModel):
    colors: list[str]


@pytest.fixture(scope="module", autouse=True)
def claude(house: House) -> Iterator[Server]:
    with running_claude(house) as server:
        yield server


@pytest.fixture
def client(stage: Stage) -> OpenAI:
    return OpenAI(
        api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0, timeout=30
    )


def settled(response_id: str) -> UsageEvent:
    request_id = "req_" + response_id.removeprefix("resp_")
    event: UsageEvent = wait_for(UsageEvent.objects.filter(request_id=request_id).first)
    return event


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_and_its_stream_are_read_and_billed(
    stage: Stage, client: OpenAI, model: str
) -> None:
    whole = client.responses.create(model=model, instructions="Be kind.", input="Say hello")
    with client.responses.stream(model=model, instructions="Be kind.", input="Say hello") as stream:
        numbers = [event.sequence_number for event in stream]
        final = stream.get_final_response()

    assert numbers == list(range(len(numbers)))
    assert whole.status == final.status == "completed"
    assert whole.output_text == final.output_text != ""
    for response in (whole, final):
        assert response.usage is not None
        event = settled(response.id)
        assert event.outcome == "completed"
        assert event.input == response.usage.input_tokens
        assert event.output == response.usage.output_tokens
        assert response.usage.input_tokens_details.cache_write_tokens == 0
        assert response.usage.model_extra is not None
        assert event.amount_nanos == round(response.usage.model_extra["cost"] * 10**9)
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("alias", ["/v1", "/api/v1", "/api"])
def test_every_alias_answers(stage: Stage, alias: str) -> None:
    body = {"model": "hacxgpt", "input": [{"role": "user", "content": "Say hello"}]}

    answer = post(stage.api.url, stage.acme.key_text, body, path=alias + "/responses")

    assert answer.status_code == 200
    assert answer.json()["output"][0]["content"][0]["text"] == "Hello!"
    assert answer.json()["id"] == "resp_" + answer.headers["x-request-id"].removeprefix("req_")


def test_a_tool_is_called_and_its_output_answered(client: OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
    first = client.responses.create(model="hacxgpt", input=asked, tools=[TOOL])
    call = first.output[0]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"location": "Oslo"})

    with client.responses.stream(model="hacxgpt", input=asked, tools=[TOOL]) as stream:
        streamed = stream.get_final_response().output[0]
    assert streamed.type == "function_call"
    assert streamed.arguments == call.arguments

    told = [
        *asked,
        *[output.model_dump(exclude_none=True) for output in first.output],
        {"type": "function_call_output", "call_id": call.call_id, "output": "snow"},
    ]
    second = client.responses.create(model="hacxgpt", input=told, tools=[TOOL])
    assert second.output_text == "Here is what I found: snow"


@pytest.mark.parametrize("alias", ["/v1", "/api/v1", "/api"])
def test_the_count_of_an_input_is_what_it_is_billed_for_and_free(stage: Stage, alias: str) -> None:
    opened = OpenAI(api_key=stage.acme.key_text, base_url=stage.api.url + alias, max_retries=0)
    asked: Any = {
        "model": "hacxgpt",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Say hello"}]}],
        "tools": [TOOL],
    }

    count = opened.responses.input_tokens.count(**asked)
    with pytest.raises(BadRequestError) as refused:
        opened.responses.input_tokens.count(**asked, previous_response_id="resp_1")

    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 0
    assert refused.value.param == "previous_response_id"
    assert count.object == "response.input_tokens"
    assert settled(opened.responses.create(**asked).id).input == count.input_tokens


def test_a_form_is_parsed_whole_and_streamed(client: OpenAI) -> None:
    whole = client.responses.parse(model="hacxgpt", input="List 3 colors", text_format=Colors)
    with client.responses.stream(
        model="hacxgpt", input="List 3 colors", text_format=Colors
    ) as stream:
        streamed = stream.get_final_response()

    assert isinstance(whole.output_parsed, Colors)
    assert whole.output_parsed == streamed.output_parsed


def test_thinking_is_an_output_before_the_message(client: OpenAI) -> None:
    answer = client.responses.create(
        model="hacxgpt", input="Say hello", reasoning={"effort": "low"}
    )
    again = client.responses.create(
        model="hacxgpt",
        input=[
            {"role": "user", "content": "Say hello"},
            *[output.model_dump(exclude_none=True) for output in answer.output],  # type: ignore[list-item] # as clients send it back
            {"role": "user", "content": "Say hello"},
        ],
    )

    assert [output.type for output in answer.output] == ["reasoning", "message"]
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens > 0
    assert answer.output_text == again.output_text == "Hello!"


def test_a_limit_leaves_an_answer_incomplete(client: OpenAI) -> None:
    asked: Any = {"model": "hacxgpt", "input": "Tell me a story", "max_output_tokens": 5}
    whole = client.responses.create(**asked)
    *_, last = client.responses.create(**asked, stream=True)

    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 5
    assert last.type == "response.incomplete"


def test_a_stream_that_breaks_has_failed_and_costs_what_was_said(
    stage: Stage, client: OpenAI
) -> None:
    events = [
        *client.responses.create(model="hacxgpt-faulty", input="Tell me a story", stream=True)
    ]
    last = events[-1]

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "The model's provider broke off its answer."
    said = sum(event.type == "response.output_text.delta" for event in events)
    event = settled(last.response.id)
    assert (event.outcome, event.output) == ("truncated", said)
    assert_proven(stage.stores.database_url, stage.journals)


def test_the_async_client_reads_both(stage: Stage) -> None:
    async def run() -> tuple[str, str]:
        async with AsyncOpenAI(
            api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0
        ) as client:
            whole = await client.responses.create(model="hacxgpt", input="Say hello")
            async with client.responses.stream(model="hacxgpt", input="Say hello") as stream:
                return whole.output_text, (await stream.get_final_response()).output_text

    assert asyncio.run(run()) == ("Hello!", "Hello!")


def test_the_earlier_turns_must_be_sent_and_a_refusal_costs_nothing(
    stage: Stage, client: OpenAI
) -> None:
    with pytest.raises(BadRequestError, match="stores no responses") as caught:
        client.responses.create(model="hacxgpt", input="Hi", previous_response_id="resp_1")
    with pytest.raises(APIStatusError) as unknown:
        client.responses.create(model="nope", input="Hi")

    assert (caught.value.param, caught.value.code) == ("previous_response_id", "unsupported_value")
    assert (unknown.value.status_code, unknown.value.code) == (404, "model_not_found")
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0


def test_sent_again_under_its_key_it_is_answered_again_and_billed_once(stage: Stage) -> None:
    body = {"model": "hacxgpt", "input": "Say hello", "stream": True}
    first, again = (
        post(stage.api.url, stage.acme.key_text, body, path=PATH, **{"Idempotency-Key": "a"})
        for _ in range(2)
    )

    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 1)
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("streamed", [False, True])
def test_hostile_bodies_are_refused_or_answered_and_never_our_fault(
    stage: Stage, *, streamed: bool
) -> None:
    flag = b'"stream":true,' if streamed else b""
    inputs = [
        b"null",
        b"true",
        b"1e400",
        b"[[[]]]",
        b'"\\ud800"',
        b'"\\u0000"',
        b'[{"role":"user","content":[{"type":"input_text","text":{}}]}]',
        b'[{"type":"function_call","call_id":[],"name":1,"arguments":null}]',
        b"[" * 20_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b"9" * 5_000,
    ]
    for sent in inputs:
        body = b'{"model":"hacxgpt",' + flag + b'"input":' + sent + b"}"
        answer = post(stage.api.url, stage.acme.key_text, body, path=PATH)
        assert answer.status_code in {200, 400}, sent[:40]
        answer.content.decode("utf-8")
    wait_for(lambda: stage.acme.account.held_nanos == 0)

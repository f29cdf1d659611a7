"""Anthropic's official SDK against a live server, on both servers."""

import asyncio
import json
from typing import Any

import anthropic
import pytest
import requests
from anthropic import AsyncAnthropic

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import wait_for
from tests.compat.anthropic_client import STORY, client
from tests.gateway.dialects.anthropic_asking import WEATHER
from tests.stage import Stage

WEATHER_TOOL: Any = WEATHER


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

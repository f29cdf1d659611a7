"""The helpers of OpenAI's client on chat completions: streams that add up, forms, tools, lists."""

import asyncio
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, LengthFinishReasonError, NotFoundError, OpenAI
from pydantic import BaseModel

from tests.stage import Stage

HELLO: Any = [{"role": "user", "content": "Say hello in three words"}]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]


class Step(BaseModel):
    """A part of the form, by reference."""

    explanation: str
    output: str


class Solution(BaseModel):
    """A form with a list of references, an enumeration and what may be missing."""

    steps: list[Step]
    certainty: Literal["low", "high"]
    remark: str | None


class GetWeather(BaseModel):
    """Get current weather."""

    location: str
    unit: Literal["celsius", "fahrenheit"]


@pytest.fixture
def client(stage: Stage) -> OpenAI:
    return OpenAI(
        api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0, timeout=30
    )


def async_client(stage: Stage) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0, timeout=30
    )


@pytest.mark.parametrize("model", ["hacxgpt", "mock"])
def test_the_stream_helper_tells_of_every_piece_and_adds_them_up(
    client: OpenAI, model: str
) -> None:
    whole = client.chat.completions.create(model=model, messages=HELLO)
    with client.chat.completions.stream(
        model=model, messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()

    pieces = [event.delta for event in events if event.type == "content.delta"]
    done = [event.content for event in events if event.type == "content.done"]
    assert len(pieces) > 1
    assert "".join(pieces) == done[0] == final.choices[0].message.content
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert final.usage is not None
    assert whole.usage is not None
    assert final.usage.total_tokens == whole.usage.total_tokens


def test_a_form_is_parsed_whole_and_streamed(client: OpenAI) -> None:
    asked: Any = {"model": "hacxgpt", "messages": HELLO, "response_format": Solution}
    whole = client.chat.completions.parse(**asked).choices[0].message
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0].message

    assert isinstance(whole.parsed, Solution)
    assert whole.parsed == streamed.parsed
    assert whole.refusal is None


def test_the_older_names_of_the_helpers_lead_to_the_same(client: OpenAI) -> None:
    asked: Any = {"model": "hacxgpt", "messages": HELLO, "response_format": Solution}

    assert client.beta.chat.completions.parse(**asked).choices[0].message.parsed is not None
    with client.beta.chat.completions.stream(model="hacxgpt", messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content


def test_a_tool_made_of_a_model_is_called_with_arguments_that_fit_it(client: OpenAI) -> None:
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    asked: Any = {"model": "hacxgpt", "messages": WEATHER, "tools": [tool]}
    message = client.chat.completions.parse(**asked).choices[0].message
    with client.chat.completions.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        streamed = stream.get_final_completion().choices[0].message

    for said in (message, streamed):
        assert said.tool_calls is not None
        arguments = said.tool_calls[0].function.parsed_arguments
        assert isinstance(arguments, GetWeather)
        assert arguments.location == "Oslo"
    assert "tool_calls.function.arguments.delta" in kinds
    assert "tool_calls.function.arguments.done" in kinds

    assert message.tool_calls is not None
    told = [
        *WEATHER,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "snow"},
    ]
    answer = client.chat.completions.parse(model="hacxgpt", messages=told, tools=[tool])
    assert answer.choices[0].message.content == "Here is what I found: snow"


def test_a_form_that_is_cut_raises_as_the_client_promises(client: OpenAI) -> None:
    with pytest.raises(LengthFinishReasonError):
        client.chat.completions.parse(
            model="hacxgpt", messages=HELLO, response_format=Solution, max_tokens=3
        )


@pytest.mark.parametrize("form", [{}, {"response_format": Solution}], ids=["text", "form"])
def test_the_stream_helper_raises_when_a_choice_was_cut(
    client: OpenAI, form: dict[str, Any]
) -> None:
    asked: Any = {"model": "hacxgpt", "messages": HELLO, "max_tokens": 1, **form}
    whole = client.chat.completions.create(model="hacxgpt", messages=HELLO, max_tokens=1)

    with (
        client.chat.completions.stream(**asked) as stream,
        pytest.raises(LengthFinishReasonError) as caught,
    ):
        stream.get_final_completion()

    assert whole.choices[0].finish_reason == "length"
    assert caught.value.completion.choices[0].finish_reason == "length"


def test_the_async_client_has_the_same_helpers(stage: Stage) -> None:
    async def run() -> None:
        async with async_client(stage) as client:
            whole = await client.chat.completions.create(model="hacxgpt", messages=HELLO)
            parsed = await client.chat.completions.parse(
                model="hacxgpt", messages=HELLO, response_format=Solution
            )
            async with client.chat.completions.stream(model="hacxgpt", messages=HELLO) as stream:
                pieces = [event.delta async for event in stream if event.type == "content.delta"]
                final = await stream.get_final_completion()
            names = [model.id async for model in client.models.list()]

        assert "".join(pieces) == final.choices[0].message.content
        assert final.choices[0].message.content == whole.choices[0].message.content
        assert isinstance(parsed.choices[0].message.parsed, Solution)
        assert {"hacxgpt", "text-embedding-3-small"} <= set(names)

    asyncio.run(run())


def test_models_are_listed_found_and_missed(client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}

    assert client.models.retrieve("hacxgpt") == listed["hacxgpt"]
    assert client.models.retrieve("text-embedding-3-small").object == "model"
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve("nope")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_raw_answers_show_their_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="hacxgpt", messages=HELLO)
    vectors = client.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input="Hello", encoding_format="float"
    )
    response = client.responses.with_raw_response.create(model="hacxgpt", input="Hello")

    for answer in (raw, vectors, response):
        assert answer.headers["x-request-id"].startswith("req_")
        assert int(answer.headers["x-ratelimit-limit-requests"]) > 0

"""The official SDK as the judge: the documents' examples, answered without a server between."""

from collections.abc import Iterator
from typing import Any

import httpx2
import orjson
import pytest
from openai import APIError, BadRequestError, OpenAI

from billing.usage import Evidence
from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.openai import DIALECT
from gateway.dialects.receipts import Receipt
from gateway.providers.simulator import plan
from kernel import errors
from kernel.money import Nanos
from tests.gateway.dialects.asking import WEATHER, check_body


def happened(request: ChatRequest) -> Iterator[StreamEvent]:
    """The planned answer as events, without a pace."""
    for number, choice in enumerate(plan(request).choices):
        yield from (TextDelta(number, piece, 1) for piece in choice.pieces)
        for index, call in enumerate(choice.calls):
            yield ToolCallStarted(number, index, f"call_{index}", call.name, call.name_tokens)
            yield from (ToolCallDelta(number, index, piece, 1) for piece in call.arguments)
        yield ChoiceFinished(number, choice.reason)


def serve(call: httpx2.Request) -> httpx2.Response:
    try:
        request = check_body(call.read())
    except errors.BadRequestError as error:
        return httpx2.Response(400, content=DIALECT.render_error(error, "req_1"))
    answer = Answer("chatcmpl-1", request.model, 1710000000, "fp_1")
    receipt = Receipt(plan(request).usage, Nanos(21_500), Evidence.PROVIDER)
    if not request.stream:
        body = DIALECT.render_answer(request, answer, happened(request), receipt)
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})
    stream = DIALECT.open_stream(request, answer)
    frames = stream.render(happened(request))
    if request.model == "hacxgpt-faulty":
        frames += stream.fail(errors.UpstreamError("It broke off."))
    else:
        frames += stream.finish(receipt)
    return httpx2.Response(200, content=frames, headers={"content-type": "text/event-stream"})


@pytest.fixture
def client() -> Iterator[OpenAI]:
    transport = httpx2.MockTransport(serve)
    with (
        httpx2.Client(transport=transport) as http,
        OpenAI(api_key="hk-proj-x", base_url="http://tollgate.test/v1", http_client=http) as opened,
    ):
        yield opened


def test_an_answer_is_read(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="hacxgpt",
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        temperature=0.7,
    )

    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3 + (4 + 7) + (4 + 7) + 7


def test_a_stream_is_read_and_equals_the_whole_answer(client: OpenAI) -> None:
    ask: dict[str, Any] = {
        "model": "hacxgpt",
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "n": 2,
    }
    whole = client.chat.completions.create(**ask)
    texts = ["", ""]
    usage = None
    for chunk in client.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""

    assert texts == [choice.message.content for choice in whole.choices]
    assert usage == whole.usage


def test_the_documents_reader_finds_a_choice_in_every_chunk(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="hacxgpt", messages=[{"role": "user", "content": "Say hello"}], stream=True
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello!"


def test_a_call_is_read_whole_and_accumulated_from_a_stream(client: OpenAI) -> None:
    ask: dict[str, Any] = {
        "model": "gpt-4-1-nano-2025-04-14",
        "messages": [
            {"role": "system", "content": "Use tools when appropriate."},
            {"role": "user", "content": "What is the weather in San Francisco?"},
        ],
        "tools": [WEATHER],
    }
    message = client.chat.completions.create(**ask).choices[0].message
    with client.chat.completions.stream(**ask) as stream:
        streamed = stream.get_final_completion().choices[0]

    assert message.content is None
    assert message.tool_calls is not None
    assert streamed.finish_reason == "tool_calls"
    assert streamed.message.tool_calls is not None
    for call in (message.tool_calls[0], streamed.message.tool_calls[0]):
        assert call.type == "function"
        assert call.function.name == "get_weather"
        assert call.function.arguments == '{"location":"San Francisco"}'


def test_json_mode_answers_with_json(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "List 3 colors as a JSON array"}],
        response_format={"type": "json_object"},
        max_tokens=100,
    )

    assert orjson.loads(answer.choices[0].message.content or "") == {
        "colors": ["red", "green", "blue"]
    }


def test_a_refusal_is_an_error_with_its_fields(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="hacxgpt", messages=[])

    assert (caught.value.code, caught.value.param) == ("empty_array", "messages")
    assert "Messages array cannot be empty" in caught.value.message


def test_a_broken_stream_is_an_error(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="hacxgpt-faulty", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    with pytest.raises(APIError, match=r"It broke off\."):
        list(stream)

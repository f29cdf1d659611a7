"""The shapes that both Python clients' READMEs show, with their models' names, and our address.

An operator offers the names; what the READMEs show of files, real time, webhooks and workload
identity has no counterpart here.
"""

import asyncio
import base64
import os
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI

from tests.compat.environment import client_environment
from tests.compat.readmes import offer_readme_models
from tests.stage import House, Stage, open_house


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_readme_models) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _address_and_key(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in client_environment(stage, stage.acme.key_text).items():
        monkeypatch.setenv(name, value)


def test_a_response() -> None:
    client = OpenAI(
        api_key=os.environ.get("OPENAI_API_KEY"),
    )

    response = client.responses.create(
        model="gpt-5.5",
        instructions="You are a baker who answers in one sentence.",
        input="What is 2+2?",
    )

    assert response.output_text == "2+2 equals 4."


def test_a_completion() -> None:
    client = OpenAI()

    completion = client.chat.completions.create(
        model="gpt-5.5",
        messages=[
            {"role": "developer", "content": "Answer like a baker."},
            {
                "role": "user",
                "content": "What is 2+2?",
            },
        ],
    )

    assert completion.choices[0].message.content == "2+2 equals 4."


@pytest.mark.parametrize("is_inline", [False, True])
def test_vision(*, is_inline: bool) -> None:
    client = OpenAI()
    img_url = "https://example.com/loaf.jpg"
    if is_inline:
        b64_image = base64.b64encode(b"a picture").decode("utf-8")
        img_url = f"data:image/png;base64,{b64_image}"

    content: Any = [
        {"type": "input_text", "text": "What is on this picture?"},
        {"type": "input_image", "image_url": f"{img_url}"},
    ]
    response = client.responses.create(
        model="gpt-5.5",
        input=[{"role": "user", "content": content}],
    )

    assert response.output_text.startswith("I have received 1 image.")


def test_the_asynchronous_client() -> None:
    client = AsyncOpenAI(
        api_key=os.environ.get("OPENAI_API_KEY"),
    )

    async def main() -> str:
        response = await client.responses.create(model="gpt-5.5", input="Say hello")
        return response.output_text

    assert asyncio.run(main()) == "Hello!"


def test_a_stream_of_responses() -> None:
    client = OpenAI()

    stream = client.responses.create(
        model="gpt-5.5",
        input="Say hello",
        stream=True,
    )

    types = [event.type for event in stream]
    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == "response.completed"


def test_an_asynchronous_stream_of_responses() -> None:
    client = AsyncOpenAI()

    async def main() -> list[str]:
        stream = await client.responses.create(
            model="gpt-5.5",
            input="Say hello",
            stream=True,
        )
        return [event.type async for event in stream]

    assert asyncio.run(main())[-1] == "response.completed"


def test_an_error_is_caught_as_shown() -> None:
    client = OpenAI()

    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="no-such-model", messages=[{"role": "user", "content": "Hello!"}]
        )

    assert isinstance(caught.value, openai.NotFoundError)
    assert caught.value.response.headers["x-request-id"] == caught.value.request_id


def test_a_message() -> None:
    client = Anthropic(
        api_key=os.environ.get("ANTHROPIC_API_KEY"),
    )

    message = client.messages.create(
        max_tokens=1024,
        messages=[
            {
                "role": "user",
                "content": "Say hello",
            }
        ],
        model="claude-opus-5-5",
    )

    assert [(block.type, getattr(block, "text", "")) for block in message.content] == [
        ("text", "Hello!")
    ]

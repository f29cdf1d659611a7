"""The examples that the documentation of this API's callers shows, run as they stand there.

Only the address and the key are ours. These are written for the official client and for curl.
"""

import json
import subprocess
import time
from typing import Any

import pytest
from openai import OpenAI

from tests.calls import frames, text_of
from tests.stage import Stage

ALIASES = ["/v1", "/api/v1", "/api"]


def client(stage: Stage, alias: str = "/v1") -> OpenAI:
    return OpenAI(api_key=stage.acme.key_text, base_url=stage.api.url + alias)


@pytest.mark.parametrize("alias", ALIASES)
def test_the_capital_of_france_through_the_sdk(stage: Stage, alias: str) -> None:
    response = client(stage, alias).chat.completions.create(
        model="hacxgpt",
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        temperature=0.7,
    )

    assert response.choices[0].message.content
    assert response.choices[0].finish_reason == "stop"
    usage = response.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize("alias", ALIASES)
def test_a_story_streamed_through_the_sdk(stage: Stage, alias: str) -> None:
    stream = client(stage, alias).chat.completions.create(
        model="hacxgpt",
        messages=[{"role": "user", "content": "Tell me a story"}],
        stream=True,
    )

    pieces = 0
    for chunk in stream:
        if chunk.choices[0].delta.content:
            pieces += 1
    assert pieces > 20


def test_hello_through_curl(stage: Stage) -> None:
    printed = subprocess.run(
        [
            "curl",
            "-s",
            "-X",
            "POST",
            stage.api.url + "/v1/chat/completions",
            "-H",
            "Content-Type: application/json",
            "-H",
            f"Authorization: Bearer {stage.acme.key_text}",
            "-d",
            """{
    "model": "gpt-4o",
    "messages": [
      {"role": "system", "content": "You are a helpful assistant."},
      {"role": "user", "content": "Hello!"}
    ]
  }""",
        ],
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout

    body = json.loads(printed)
    assert (body["object"], body["model"]) == ("chat.completion", "gpt-4o")
    assert body["choices"][0]["message"]["content"]


def test_a_haiku_streamed_through_curl(stage: Stage) -> None:
    printed = subprocess.run(
        [
            "curl",
            "-sN",
            stage.api.url + "/v1/chat/completions",
            "-H",
            "Content-Type: application/json",
            "-H",
            f"Authorization: Bearer {stage.acme.key_text}",
            "-d",
            """{
    "model": "gpt-4o",
    "stream": true,
    "messages": [
      {"role": "user", "content": "Write a haiku about coding."}
    ]
  }""",
        ],
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout.decode()

    chunks = frames(printed)
    assert chunks[-1] == "[DONE]"
    assert text_of(chunks)
    assert {line.split(":", 1)[0] for line in printed.splitlines() if line} == {"data"}


def test_a_haiku_streamed_through_the_sdk(stage: Stage) -> None:
    stream = client(stage).chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Write a haiku about coding."}],
        stream=True,
    )

    text = ""
    for chunk in stream:
        if chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    assert text


def test_three_words_through_the_sdk(stage: Stage) -> None:
    response = client(stage, "/api").chat.completions.create(
        model="gpt-4-1-nano-2025-04-14",
        messages=[{"role": "user", "content": "Say hello in exactly 3 words."}],
        max_tokens=50,
        temperature=0.1,
    )

    assert response.choices[0].message.content


def test_hello_streamed_through_the_sdk_on_the_short_path(stage: Stage) -> None:
    stream = client(stage, "/api").chat.completions.create(
        model="gpt-4-1-nano-2025-04-14",
        messages=[{"role": "user", "content": "Say hello"}],
        stream=True,
    )

    text = ""
    for chunk in stream:
        content = chunk.choices[0].delta.content
        if content:
            text += content
    assert text


def test_the_weather_calls_the_tool(stage: Stage) -> None:
    response = client(stage, "/api").chat.completions.create(
        model="gpt-4-1-nano-2025-04-14",
        messages=[
            {"role": "system", "content": "Use tools when appropriate."},
            {"role": "user", "content": "What is the weather in San Francisco?"},
        ],
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "Get current weather",
                    "parameters": {
                        "type": "object",
                        "properties": {"location": {"type": "string"}},
                        "required": ["location"],
                    },
                },
            }
        ],
    )

    choice = response.choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert calls is not None
    function: Any = getattr(calls[0], "function", None)
    assert function.name == "get_weather"
    assert isinstance(json.loads(function.arguments)["location"], str)


def test_three_colors_as_json(stage: Stage) -> None:
    response = client(stage, "/api").chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "List 3 colors as a JSON array"}],
        response_format={"type": "json_object"},
        max_tokens=100,
    )

    assert isinstance(json.loads(response.choices[0].message.content or ""), dict)


def test_a_picture_is_taken(stage: Stage) -> None:
    response = client(stage).chat.completions.create(
        model="gpt-4o",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What's in this image?"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/image.png"}},
                ],
            }
        ],
    )

    assert response.choices[0].message.content


@pytest.mark.parametrize("alias", ALIASES)
def test_the_same_seed_gives_the_same_text_on_every_alias_streamed_or_not(
    stage: Stage, alias: str
) -> None:
    asked: dict[str, Any] = {
        "model": "hacxgpt",
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "seed": 7,
    }
    whole = client(stage).chat.completions.create(**asked)
    stream = client(stage, alias).chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_the_models_are_listed_through_the_sdk(stage: Stage) -> None:
    names = [model.id for model in client(stage).models.list()]

    assert {"hacxgpt", "gpt-4o", "claude-sonnet-4-6", "gemini-2.5-pro"} <= set(names)
    assert client(stage).models.retrieve("hacxgpt").id == "hacxgpt"


def test_the_sdk_does_not_retry_a_lack_of_credit(stage: Stage) -> None:
    from openai import APIStatusError

    from tests.factories import make_tenant

    poor = make_tenant("Poor", credit_usd="0.000000001")
    began = time.monotonic()
    with pytest.raises(APIStatusError) as raised:
        OpenAI(api_key=poor.key_text, base_url=stage.api.url + "/v1").chat.completions.create(
            model="hacxgpt", messages=[{"role": "user", "content": "Hello"}]
        )

    assert raised.value.status_code == 402
    assert time.monotonic() - began < 5

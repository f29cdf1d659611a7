"""The documentation's examples written for ``requests``; only the address and the key are ours."""

import json
from typing import Any

import pytest
import requests

from tests.stage import Stage


def send(stage: Stage, body: dict[str, Any], **options: Any) -> requests.Response:
    return requests.post(
        stage.api.url + "/api/v1/chat/completions",
        headers={"Authorization": f"Bearer {stage.acme.key_text}"},
        json=body,
        timeout=30,
        **options,
    )


@pytest.mark.parametrize(
    "body",
    [
        {
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Hello! How are you?"},
            ]
        },
        {
            "messages": [
                {
                    "role": "system",
                    "content": "You are an expert in Python programming. "
                    "Provide clear, efficient code examples.",
                },
                {"role": "user", "content": "How do I sort a list in Python?"},
            ]
        },
        {"messages": [{"role": "user", "content": "Tell me a joke."}], "temperature": 0.2},
        {"messages": [{"role": "user", "content": "Write a creative story."}], "temperature": 1.5},
        {
            "messages": [{"role": "user", "content": "Write a long article about AI."}],
            "max_tokens": 500,
        },
        {
            "messages": [
                {"role": "system", "content": "You are a helpful, friendly assistant."},
                {"role": "user", "content": "What is 2+2?"},
                {"role": "assistant", "content": "2+2 equals 4."},
                {"role": "user", "content": "What about 5+3?"},
            ]
        },
    ],
)
def test_plain_calls_through_requests(stage: Stage, body: dict[str, Any]) -> None:
    response = send(stage, {"model": "gpt-3.5-turbo", **body})

    data = response.json()
    assert data["choices"][0]["message"]["content"]
    assert data["usage"]["completion_tokens"] <= body.get("max_tokens", 1_000)


def test_a_stream_read_line_by_line_through_requests(stage: Stage) -> None:
    response = send(
        stage,
        {
            "model": "gpt-3.5-turbo",
            "messages": [{"role": "user", "content": "Tell me a story."}],
            "stream": True,
        },
        stream=True,
    )

    text, done = "", False
    for raw in response.iter_lines():
        if raw:
            line = raw.decode("utf-8")
            if line.startswith("data: "):
                data = line[6:]
                if data == "[DONE]":
                    done = True
                    break
                chunk = json.loads(data)
                if "choices" in chunk and len(chunk["choices"]) > 0:
                    delta = chunk["choices"][0]["delta"]
                    if "content" in delta:
                        text += delta["content"]
    assert done
    assert text


def test_counting_stops_before_eleven(stage: Stage) -> None:
    response = send(
        stage,
        {
            "model": "gpt-3.5-turbo",
            "messages": [{"role": "user", "content": "Count from 1 to 10."}],
            "stop": ["11", "eleven"],
        },
    )

    text = response.json()["choices"][0]["message"]["content"]
    assert text
    assert "11" not in text
    assert "eleven" not in text


def test_a_conversation_goes_on(stage: Stage) -> None:
    conversation = [{"role": "system", "content": "You are a helpful assistant."}]
    conversation.append({"role": "user", "content": "What's the capital of France?"})
    first = send(stage, {"model": "gpt-3.5-turbo", "messages": conversation}).json()
    conversation.append({"role": "assistant", "content": first["choices"][0]["message"]["content"]})
    conversation.append({"role": "user", "content": "And what about Germany?"})

    second = send(stage, {"model": "gpt-3.5-turbo", "messages": conversation}).json()

    assert second["choices"][0]["message"]["content"]
    assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]


def test_an_invalid_model_raises_and_says_so(stage: Stage) -> None:
    response = send(
        stage, {"model": "invalid-model", "messages": [{"role": "user", "content": "Hello"}]}
    )

    with pytest.raises(requests.exceptions.HTTPError) as raised:
        response.raise_for_status()
    error = raised.value.response.json()
    assert error["error"]["message"] == "Model not found: invalid-model"
    assert error["error"]["type"] == "invalid_request_error"

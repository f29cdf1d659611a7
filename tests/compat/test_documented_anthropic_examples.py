"""The examples that the documentation of the Messages API shows, run as they stand there.

Only the address and the key are ours.
"""

import pytest
from anthropic import Anthropic

from tests.calls import post
from tests.stage import Stage


def test_create_a_message(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    client = Anthropic(api_key=stage.acme.key_text, base_url=stage.api.url + "/anthropic")

    message = client.messages.create(
        model="hacxgpt",
        max_tokens=1024,
        system="You are a helpful assistant.",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )
    print(message.content[0].text)  # type: ignore[union-attr] # noqa: T201 # as documented

    assert capsys.readouterr().out == "The capital of France is Paris.\n"


def test_a_story_streamed(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    client = Anthropic(api_key=stage.acme.key_text, base_url=stage.api.url + "/anthropic")

    with client.messages.stream(
        model="hacxgpt", max_tokens=1024, messages=[{"role": "user", "content": "Tell me a story"}]
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)  # noqa: T201 # as documented

    assert len(capsys.readouterr().out) > 100


def test_the_answer_has_the_documented_fields(stage: Stage) -> None:
    body = {
        "model": "hacxgpt",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello"}],
    }

    answer = post(stage.api.url, stage.acme.key_text, body, path="/anthropic/v1/messages").json()

    assert answer["id"].startswith("msg_")
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "hacxgpt")
    assert [block["type"] for block in answer["content"]] == ["text"]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    assert answer["usage"]["input_tokens"] == 3 + 4 + 1
    assert answer["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_every_documented_parameter_is_taken(stage: Stage, *, streamed: bool) -> None:
    body = {
        "model": "hacxgpt",
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
        "max_tokens": 256,
        "system": [{"type": "text", "text": "You are a helpful assistant."}],
        "temperature": 1,
        "top_p": 1,
        "stop_sequences": ["STOP"],
        "stream": streamed,
        "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "get_weather"},
    }

    answer = post(stage.api.url, stage.acme.key_text, body, path="/anthropic/v1/messages")

    assert answer.status_code == 200
    assert '"stop_reason":"tool_use"' in answer.text

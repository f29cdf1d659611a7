"""The wire contract of a prefill, a last message of the assistant's: the answer goes on from it."""

import json

import pytest

from tests.calls import post
from tests.stage import Stage

MESSAGES = "/anthropic/v1/messages"
BEGUN = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is"},
]


def test_the_answer_is_what_comes_after_it_and_that_alone_is_output(stage: Stage) -> None:
    body = {"model": "hacxgpt", "max_tokens": 64, "messages": BEGUN}

    answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES).json()
    counted = post(stage.api.url, stage.acme.key_text, body, path=f"{MESSAGES}/count_tokens").json()

    assert answer["content"] == [{"type": "text", "text": " Paris."}]
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"]["output_tokens"] == 2
    assert answer["usage"]["input_tokens"] == counted["input_tokens"]


def test_a_stream_goes_on_with_the_same_words(stage: Stage) -> None:
    body = {"model": "hacxgpt", "max_tokens": 64, "messages": BEGUN, "stream": True}

    answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES)

    sent = [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: ")
    ]
    texts = [e["delta"]["text"] for e in sent if e["type"] == "content_block_delta"]
    assert "".join(texts) == " Paris."


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_begun_whole_has_nothing_to_add(stage: Stage, *, stream: bool) -> None:
    whole = [BEGUN[0], {"role": "assistant", "content": "The capital of France is Paris."}]
    body = {"model": "hacxgpt", "max_tokens": 64, "messages": whole, "stream": stream}

    answer = post(stage.api.url, stage.acme.key_text, body, path=MESSAGES)

    assert answer.status_code == 200
    assert '"stop_reason":"end_turn"' in answer.text
    if not stream:
        assert answer.json()["content"] == []
        assert answer.json()["usage"]["output_tokens"] == 0

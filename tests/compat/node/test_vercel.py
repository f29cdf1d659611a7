"""Vercel's AI SDK with each of its providers that may be pointed at a server of one's own."""

from typing import Any

import pytest

from tests.books import assert_proven
from tests.compat.node.play import needs_node, play, usage_of
from tests.stage import Stage

SNOW = "Here is what I found: snow"

pytestmark = [
    needs_node,
    pytest.mark.parametrize("provider", ["compatible", "chat", "responses", "messages"]),
]


def ask(stage: Stage, provider: str, scene: str) -> Any:
    return play(stage, "vercel", scene, PROVIDER=provider)


def test_a_text_is_generated_and_billed(stage: Stage, provider: str) -> None:
    said = ask(stage, provider, "plain")

    text = "The capital of France is Paris."
    assert said == {"text": text, "finishReason": "stop", "input": 25, "output": 7}
    [event] = usage_of(stage)
    assert (event.input, event.output, event.amount_nanos) == (25, 7, 39_000)
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_text_is_streamed_and_its_usage_read(stage: Stage, provider: str) -> None:
    said = ask(stage, provider, "streamed")

    assert len(said["pieces"]) > 20
    assert "".join(said["pieces"]) == said["streamed"]["text"]
    assert said["streamed"] == said["whole"]
    for event in usage_of(stage, calls=2):
        assert (event.input, event.output) == (said["whole"]["input"], said["whole"]["output"])


def test_tools_are_run_in_steps_whole_and_streamed(stage: Stage, provider: str) -> None:
    said = ask(stage, provider, "tools")

    assert said == {"asked": ["Oslo", "Oslo"], "steps": 2, "texts": [SNOW, SNOW]}
    assert {event.outcome for event in usage_of(stage, calls=4)} == {"completed"}


def test_an_object_fits_its_schema_by_either_function(stage: Stage, provider: str) -> None:
    said = ask(stage, provider, "object")

    assert set(said["object"]) == {"city", "people", "coast"}
    assert said["object"] == said["output"]


def test_a_refusal_is_an_api_call_error_that_is_not_tried_again(
    stage: Stage, provider: str
) -> None:
    assert ask(stage, provider, "refusal") == {
        "name": "AI_APICallError",
        "statusCode": 404,
        "isRetryable": False,
        "message": "Model not found: nope",
    }

"""LiteLLM as a library, in both dialects: what it says, and what it is billed."""

import pytest

from tests.books import assert_proven
from tests.compat.clients.play import Played, needs_clients, play
from tests.stage import House

pytestmark = needs_clients


@pytest.fixture(scope="module", params=["openai", "anthropic"])
def played(request: pytest.FixtureRequest, house: House) -> Played:
    return play(house, "litellm_scenes.py", request.param)


def test_a_text_is_read_with_its_usage(played: Played) -> None:
    said = played.scenes["text"]

    text = "The capital of France is Paris."
    assert said == {"text": text, "end": "stop", "input": 25, "output": 7}


def test_a_stream_comes_in_pieces_with_its_usage(played: Played) -> None:
    said = played.scenes["streamed"]

    assert len(said["pieces"]) > 20
    assert "".join(said["pieces"]).startswith("On the first cold morning of the year, a fox")
    assert (said["input"], said["output"]) == (11, 111)


def test_a_tool_is_called_and_its_result_read(played: Played) -> None:
    assert played.scenes["tools"] == {
        "calls": [["get_weather", {"location": "Oslo"}]],
        "text": "Here is what I found: snow",
    }


def test_a_refusal_is_the_error_of_its_own(played: Played) -> None:
    said = played.scenes["refusal"]

    assert "NotFoundError" in said["kinds"]
    assert said["status"] == 404


def test_embeddings_come_one_for_each_text(played: Played) -> None:
    assert played.scenes["embeddings"] == [1536, 1536]


def test_each_call_is_billed_once_and_the_refused_one_never(house: House, played: Played) -> None:
    events = played.usage(calls=5)

    assert [(event.input, event.output) for event in events[:2]] == [(25, 7), (11, 111)]
    assert [event.outcome for event in events] == ["completed"] * 5
    assert events[-1].embedding == 3
    assert played.acme.account.held_nanos == 0
    assert_proven(house.stores.database_url, house.journals)

"""LangChain and LiteLLM on each wire they speak: what they say, and what they are billed."""

import pytest

from tests.books import assert_proven
from tests.compat.clients.play import Played, needs_clients, play
from tests.stage import House

pytestmark = needs_clients


@pytest.fixture(
    scope="module",
    params=[
        ("langchain_scenes.py", "chat"),
        ("langchain_scenes.py", "responses"),
        ("langchain_scenes.py", "messages"),
        ("litellm_scenes.py", "openai"),
        ("litellm_scenes.py", "anthropic"),
    ],
    ids="-".join,
)
def played(request: pytest.FixtureRequest, house: House) -> Played:
    script, way = request.param
    return play(house, script, way)


def test_a_text_is_read_with_its_usage(played: Played) -> None:
    said = played.scenes["text"]

    assert said == {"text": "The capital of France is Paris.", "input": 25, "output": 7}


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


def test_a_form_is_filled(played: Played) -> None:
    said = played.scenes["form"]

    assert set(said) == {"city", "people"}
    assert said["people"] >= 1


def test_a_refusal_is_an_error_of_its_kind(played: Played) -> None:
    said = played.scenes["refusal"]

    assert "NotFoundError" in said["kinds"]
    assert said["status"] == 404


def test_embeddings_come_one_for_each_text(played: Played) -> None:
    assert played.scenes["embeddings"] == [8, 8]


def test_each_call_is_billed_once_and_the_refused_one_never(house: House, played: Played) -> None:
    events = played.usage(calls=6)

    assert [(event.input, event.output) for event in events[:2]] == [(25, 7), (11, 111)]
    assert [event.outcome for event in events] == ["completed"] * 6
    assert events[-1].embedding == 3
    assert played.acme.account.held_nanos == 0
    assert_proven(house.stores.database_url, house.journals)

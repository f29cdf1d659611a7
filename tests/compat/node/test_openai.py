"""OpenAI's client for JavaScript against a live server: what it says, and what it is billed."""

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.compat.node.play import needs_node, play, usage_of
from tests.stage import Stage

pytestmark = needs_node

SNOW = "Here is what I found: snow"


def test_an_answer_is_read_with_its_request_id_and_billed(stage: Stage) -> None:
    said = play(stage, "openai", "plain")

    completion = said["completion"]
    assert completion["choices"][0]["message"]["content"] == "The capital of France is Paris."
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["usage"]["total_tokens"] == 25 + 7
    assert said["requestId"] == "req_" + completion["id"].removeprefix("chatcmpl-")
    assert int(said["limit"]) > 0
    [event] = usage_of(stage)
    assert (event.request_id, event.input, event.output) == (said["requestId"], 25, 7)
    assert event.amount_nanos == round(completion["usage"]["cost"] * 10**9) == 39_000
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_stream_says_the_same_in_pieces_and_its_usage_last(stage: Stage) -> None:
    said = play(stage, "openai", "streamed")

    assert len(said["pieces"]) > 20
    assert "".join(said["pieces"]) == said["whole"]["choices"][0]["message"]["content"]
    assert said["usage"] == said["whole"]["usage"]
    whole, streamed = usage_of(stage, calls=2)
    assert (streamed.input, streamed.output) == (whole.input, whole.output)
    assert {event.outcome for event in (whole, streamed)} == {"completed"}


def test_the_stream_helper_adds_the_pieces_up(stage: Stage) -> None:
    said = play(stage, "openai", "streamHelper")

    completion = said["completion"]
    assert completion["choices"][0]["message"]["content"] == "".join(said["pieces"])
    assert completion["choices"][0]["finish_reason"] == "stop"
    [event] = usage_of(stage)
    assert said["usage"]["prompt_tokens"] == event.input
    assert said["usage"]["completion_tokens"] == event.output


def test_tools_are_run_to_the_final_answer_whole_and_streamed(stage: Stage) -> None:
    said = play(stage, "openai", "toolsRun")

    assert said == {"asked": ["Oslo", "Oslo"], "finals": [SNOW, SNOW]}
    assert {event.outcome for event in usage_of(stage, calls=4)} == {"completed"}
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_form_is_parsed_whole_and_streamed_and_a_cut_one_raises(stage: Stage) -> None:
    said = play(stage, "openai", "parsed")

    assert set(said["whole"]) == {"steps", "certainty", "remark"}
    assert said["whole"] == said["streamed"]
    assert "length limit" in said["cut"]


def test_packed_embeddings_are_unpacked_to_the_same_numbers(stage: Stage) -> None:
    said = play(stage, "openai", "embeddings")

    assert [len(vector) for vector in said["packed"]] == [8, 8]
    assert said["packed"] == said["singles"]
    assert said["usage"]["prompt_tokens"] == 3
    assert {event.embedding for event in usage_of(stage, calls=2)} == {3}


def test_responses_are_read_whole_streamed_and_parsed(stage: Stage) -> None:
    said = play(stage, "openai", "responses")

    assert said["whole"]["output_text"] == said["final"]["output_text"] == "Hello!"
    assert said["numbers"] == list(range(len(said["numbers"])))
    assert said["final"]["status"] == "completed"
    assert set(said["parsed"]) == {"steps", "certainty", "remark"}
    assert len(usage_of(stage, calls=3)) == 3


def test_a_response_calls_a_tool_and_reads_its_output(stage: Stage) -> None:
    said = play(stage, "openai", "responsesTool")

    assert said == {"name": "get_weather", "arguments": {"location": "Oslo"}, "text": SNOW}


def test_models_are_listed_found_and_missed(stage: Stage) -> None:
    said = play(stage, "openai", "models")

    assert {"hacxgpt", "text-embedding-3-small"} <= set(said["names"])
    assert said["found"]["id"] == "hacxgpt"
    assert (said["missed"]["kinds"][0], said["missed"]["status"]) == ("NotFoundError", 404)


def test_refusals_are_the_clients_own_errors_and_cost_nothing(stage: Stage) -> None:
    said = play(stage, "openai", "refusals")

    seen = {
        name: (error["kinds"][0], error["status"], error["code"], error["param"])
        for name, error in said.items()
    }
    assert seen == {
        "wrongKey": ("AuthenticationError", 401, "invalid_api_key", None),
        "unknownModel": ("NotFoundError", 404, "model_not_found", "model"),
        "badField": ("BadRequestError", 400, "decimal_above_max_value", "temperature"),
        "noMessages": ("BadRequestError", 400, "empty_array", "messages"),
    }
    assert all(error["requestID"].startswith("req_") for error in said.values())
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0

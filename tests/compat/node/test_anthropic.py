"""Anthropic's client for JavaScript against a live server: what it says, and what it is billed."""

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.compat.node.play import needs_node, play, usage_of
from tests.stage import Stage

pytestmark = needs_node

SNOW = "Here is what I found: snow"


def test_an_answer_is_read_with_its_request_id_and_billed(stage: Stage) -> None:
    said = play(stage, "anthropic", "plain")

    message = said["message"]
    assert message["content"] == [{"type": "text", "text": "The capital of France is Paris."}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert said["requestId"] == "req_" + message["id"].removeprefix("msg_")
    [event] = usage_of(stage)
    assert (event.request_id, event.input, event.output) == (said["requestId"], 25, 7)
    assert event.amount_nanos == round(message["usage"]["cost"] * 10**9) == 39_000
    assert_proven(stage.stores.database_url, stage.journals)


def test_events_come_in_their_order(stage: Stage) -> None:
    assert play(stage, "anthropic", "streamed") == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_stream_helper_gathers_the_whole_message(stage: Stage) -> None:
    said = play(stage, "anthropic", "streamHelper")

    message, whole = said["message"], said["whole"]
    assert len(said["pieces"]) > 20
    assert message["content"] == [{"type": "text", "text": "".join(said["pieces"])}]
    assert message["content"] == whole["content"]
    assert message["stop_reason"] == whole["stop_reason"] == "end_turn"
    for event in usage_of(stage, calls=2):
        assert event.input == message["usage"]["input_tokens"]
        assert event.output == message["usage"]["output_tokens"]


def test_a_tool_is_called_in_a_stream_and_its_result_read(stage: Stage) -> None:
    said = play(stage, "anthropic", "tool")

    [call] = said["called"]["content"]
    assert said["called"]["stop_reason"] == "tool_use"
    assert (call["name"], call["input"]) == ("get_weather", {"location": "Oslo"})
    assert said["answered"]["content"] == [{"type": "text", "text": SNOW}]


def test_the_tool_runner_runs_to_the_final_answer(stage: Stage) -> None:
    assert play(stage, "anthropic", "toolRunner") == {"asked": ["Oslo"], "text": SNOW}
    assert {event.outcome for event in usage_of(stage, calls=2)} == {"completed"}
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_form_is_parsed_whole_and_streamed(stage: Stage) -> None:
    said = play(stage, "anthropic", "parsed")

    assert set(said["whole"]) == {"city", "people", "coast"}
    assert said["whole"] == said["streamed"]


def test_thinking_is_gathered_signed_and_taken_back(stage: Stage) -> None:
    said = play(stage, "anthropic", "thinking")

    thinking, text = said["message"]["content"]
    assert thinking["thinking"].startswith('The last message says: "What is 2+2?".')
    assert thinking["signature"]
    assert text["text"] == "2+2 equals 4."
    first, second = usage_of(stage, calls=2)
    assert (first.output, first.reasoning) == (6, 33)
    assert said["again"]
    assert second.outcome == "completed"


def test_a_count_is_what_the_same_call_is_billed_and_costs_nothing(stage: Stage) -> None:
    said = play(stage, "anthropic", "counted")

    [event] = usage_of(stage)
    assert said["counted"] == said["billed"] == event.input


def test_models_are_listed_by_pages_found_and_missed(stage: Stage) -> None:
    said = play(stage, "anthropic", "models")

    assert len(said["names"]) == len(set(said["names"])) > 8
    assert said["found"]["id"] == "hacxgpt"
    assert (said["missed"]["kinds"][0], said["missed"]["status"]) == ("NotFoundError", 404)


def test_refusals_are_the_clients_own_errors_and_cost_nothing(stage: Stage) -> None:
    said = play(stage, "anthropic", "refusals")

    seen = {
        name: (error["kinds"][0], error["status"], error["type"]) for name, error in said.items()
    }
    assert seen == {
        "wrongKey": ("AuthenticationError", 401, "authentication_error"),
        "unknownModel": ("NotFoundError", 404, "not_found_error"),
        "noMessages": ("BadRequestError", 400, "invalid_request_error"),
    }
    assert all(error["requestID"] == error["said"]["request_id"] for error in said.values())
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0

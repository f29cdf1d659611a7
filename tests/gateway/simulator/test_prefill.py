"""A prefill, the beginning of an answer that a caller wrote: the simulator goes on from it."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat import StopReason
from gateway.providers.simulator import SimulatedChoice, plan
from gateway.providers.simulator.prefill import go_on_in_json
from tests.gateway.dialects import anthropic_asking, asking
from tests.gateway.dialects.anthropic_asking import CALL, RESULT, WEATHER

FRANCE = "What is the capital of France?"
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text('aé"\\ {[:,'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab,"'), inner, max_size=3),
)
WHOLE = VALUES.filter(lambda value: isinstance(value, (dict, list)))
OWN = '{"answer":"Paris.","status":"ok"}'


def goes_on(asked: str, begun: str, **fields: Any) -> SimulatedChoice:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": begun}]
    return plan(anthropic_asking.ask(messages=messages, **fields)).choices[0]


def said(asked: str, begun: str, **fields: Any) -> str:
    return "".join(goes_on(asked, begun, **fields).pieces)


@pytest.mark.parametrize(
    ("asked", "begun", "rest"),
    [
        (FRANCE, "The capital", " of France is Paris."),
        (FRANCE, "The capital of France is ", "Paris."),
        (FRANCE, "Gladly! The capital of", " France is Paris."),
        (FRANCE, "As everybody knows,", " the capital of France is Paris."),
        (FRANCE, "Let me see.", " The capital of France is Paris."),
        (FRANCE, "Answer:\n", "The capital of France is Paris."),
        (FRANCE, "<answer>", "the capital of France is Paris."),
        (FRANCE, "The capital of France is Paris.", ""),
        ("Count from 1 to 6.", "1, 2, 3,", " 4, 5, 6."),
        ("List 3 colors", "red, gr", "een, blue."),
    ],
)
def test_an_answer_goes_on_from_its_beginning(asked: str, begun: str, rest: str) -> None:
    assert said(asked, begun) == rest


@pytest.mark.parametrize("begun", ["{", '{"', '{"city": "', '{"city":', "[", "```json\n{"])
def test_json_that_is_begun_is_made_whole(begun: str) -> None:
    whole = (begun + said(FRANCE, begun)).removeprefix("```json\n")

    assert json.loads(whole.removesuffix("\n```"))
    assert whole.endswith("```") is begun.startswith("```")


@given(WHOLE, st.data())
def test_json_is_made_whole_wherever_it_was_cut(value: Any, data: st.DataObject) -> None:
    text = orjson.dumps(value).decode()
    begun = text[: data.draw(st.integers(1, len(text)))]

    rest = go_on_in_json(begun, OWN)

    assert rest is not None
    orjson.loads(begun + rest)


@given(st.text('{}[]",:\\ atrue1-.'))
def test_nothing_that_is_no_json_is_taken_for_it(begun: str) -> None:
    rest = go_on_in_json(begun, OWN)

    if rest is not None:
        orjson.loads(begun + rest)


@pytest.mark.parametrize("begun", ["[Scene: a beach]", "{name}", "{" * 2_000, "[1" * 9_000])
def test_what_only_looks_like_json_is_prose(begun: str) -> None:
    assert said(FRANCE, begun).endswith("Paris.")


def test_an_answer_in_a_form_is_whole_in_itself() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}

    assert "n" in json.loads(said(FRANCE, '{"n', **form))


def test_limits_and_stop_sequences_hold_for_what_is_added() -> None:
    stopped = goes_on(FRANCE, "The capital of", stop_sequences=["capital", " is"])

    assert ("".join(stopped.pieces), stopped.reason) == (" France", StopReason.STOP_SEQUENCE)
    assert goes_on(FRANCE, "The capital of", max_tokens=1).reason is StopReason.LENGTH


def test_a_tool_is_called_and_its_result_told_as_without_a_beginning() -> None:
    calling = goes_on("What is the weather in Oslo?", "Let me look.", tools=[WEATHER])
    turns = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [RESULT]},
        {"role": "assistant", "content": "Here is what"},
    ]
    told = plan(anthropic_asking.ask(messages=turns, tools=[WEATHER])).choices[0]

    assert [call.name for call in calling.calls] == ["get_weather"]
    assert "".join(told.pieces) == " I found: 15 degrees"


def test_in_the_other_dialect_such_a_turn_has_ended() -> None:
    messages = [{"role": "user", "content": FRANCE}, {"role": "assistant", "content": "The"}]

    choice = plan(asking.ask(messages=messages)).choices[0]

    assert "".join(choice.pieces) == "The capital of France is Paris."


def test_a_beginning_alone_is_answered() -> None:
    alone = [{"role": "assistant", "content": "Once upon a time"}]

    assert plan(anthropic_asking.ask(messages=alone)).choices[0].pieces

"""Whole answers that pass through keep their bytes, but for the fields that are ours."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chat import ChatRequest
from gateway.dialects import anthropic, openai
from gateway.dialects.answer_bytes import MOST_BYTES, read_answer
from kernel.errors import UpstreamError
from tests.gateway.dialects.relaying import ANSWER, RECEIPT

REQUEST = ChatRequest("public", (), {})
OURS = {"id": "ours", "model": "public"}
USAGE = b'{"cost":1}'


def patch(body: bytes) -> bytes:
    return read_answer(body).cut(OURS).render(USAGE)


@pytest.mark.parametrize(
    ("theirs", "patched"),
    [
        (
            b'{"id":"x","n":1.50,"model":"gpt","usage":{"a":1},"z":1E2}',
            b'{"id":"ours","n":1.50,"model":"public","usage":{"cost":1},"z":1E2}',
        ),
        (
            b'\n{ "usage" : {"a": [1, 2]} ,\t"model":"gpt", "x":"caf\\u00e9\\/", "id" : null }\n',
            b'\n{ "usage" : {"cost":1} ,\t"model":"public", "x":"caf\\u00e9\\/", "id" : "ours" }\n',
        ),
        (
            b'{"model":"gpt","id":"x","usage":null}',
            b'{"model":"public","id":"ours","usage":{"cost":1}}',
        ),
        (
            b'{"model":"gpt","id":"x" , "n":12345678901234567890123}',
            b'{"model":"public","id":"ours" , "n":12345678901234567890123,"usage":{"cost":1}}',
        ),
        (
            '{"id":"id","model":"é","x":{"id":"id","model":"é","usage":{}},"é":"}{"}'.encode(),
            '{"id":"ours","model":"public","x":{"id":"id","model":"é","usage":{}},"é":"}{"'.encode()
            + b',"usage":{"cost":1}}',
        ),
    ],
)
def test_only_our_fields_differ(theirs: bytes, patched: bytes) -> None:
    assert patch(theirs) == patched


@pytest.mark.parametrize(
    "theirs",
    [
        b'{"model":"gpt","usage":{},"x":1.50}',
        b'{"id":"a","id":"b","model":"gpt","usage":{},"x":1.50}',
        b'{"id":"a","model":"gpt","usage":{},"usage":{"a":1},"x":1.50}',
        b'{"id":"a","model":"gpt","usage":{},"x":1.50,"y":NaN}',
        b'{"id":"a","model":"gpt","x":1.50,"y":"%b"}' % (b"a" * MOST_BYTES),
        b'{"id":"a","model":"gpt","x":1.50,"y":%b%b}' % (b"[" * 400, b"]" * 400),
    ],
)
def test_what_cannot_be_patched_in_its_place_says_the_same_written_anew(theirs: bytes) -> None:
    said = orjson.loads(patch(theirs))

    assert said == {**json.loads(theirs.replace(b"NaN", b"null")), **OURS, "usage": {"cost": 1}}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
answers = st.dictionaries(st.sampled_from(["id", "model", "usage", "x", "y", "choices"]), values)


@given(answers, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_any_answer_says_what_it_said_but_for_ours(
    answer: dict[str, Any],
    indent: int | str | None,
    is_ascii: bool,  # noqa: FBT001 # as drawn
) -> None:
    body = json.dumps(answer, indent=indent, ensure_ascii=is_ascii)
    try:
        theirs = body.encode()
    except UnicodeEncodeError:
        return

    got = patch(theirs)

    assert json.loads(got) == {**answer, **OURS, "usage": {"cost": 1}}


def test_a_completion_and_a_message_keep_their_spelling() -> None:
    completion = (
        b'{ "id":"x", "object":"chat.completion", "created":7, "model":"gpt", "choices":'
        b'[{"index":0, "message":{"role":"assistant","content":"caf\\u00e9", "refusal":null}, '
        b'"logprobs":null, "finish_reason":"stop", "score":0.10}],"system_fingerprint":"fp_9",\n'
        b' "usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}, "tier": 1e1 }'
    )
    message = (
        b'{"model":"claude", "id":"msg_x", "type":"message", "content":[{"type":"text", "text":'
        b'"\\u0061"}], "usage":{"input_tokens":9,"output_tokens":1}, "stop_reason":"end_turn"}'
    )

    told = openai.DIALECT.patch_answer(completion, REQUEST, ANSWER).render(RECEIPT)
    said = anthropic.DIALECT.patch_answer(message, REQUEST, ANSWER).render(RECEIPT)

    assert told.startswith(
        b'{ "id":"chatcmpl-ours", "object":"chat.completion", "created":7, "model":"public", '
        b'"choices":[{"index":0, "message":{"role":"assistant","content":"caf\\u00e9", '
        b'"refusal":null}, "logprobs":null, "finish_reason":"stop", "score":0.10}],'
        b'"system_fingerprint":"fp_9",\n'
        b' "usage":{"prompt_tokens":9,'
    )
    assert told.endswith(b'}, "tier": 1e1 }')
    assert said.startswith(b'{"model":"public", "id":"chatcmpl-ours", "type":"message", "content":')
    assert said.endswith(b'}, "stop_reason":"end_turn"}')


def told(body: str) -> str:
    return openai.DIALECT.patch_answer(body.encode(), REQUEST, ANSWER).render(RECEIPT).decode()


CALLING = (
    '{"index":0,"message":{"role":"assistant","content":null,"refusal":null, '
    '"tool_calls":[{"id":"a","function":{"name":"\\ud83d"}}]},"logprobs":null,'
    ' "finish_reason":"%s"}'
)
SHARED = '"object":"chat.completion","created":7,"system_fingerprint":null,'


def test_calls_that_end_with_stop_are_mended_and_nothing_else_is_touched() -> None:
    body = f'{{{SHARED}"id":"x", "n":1.50, "choices" : [%s], "model":"gpt","usage":{{}}, "z":1E2}}'

    before, _, behind = told(body % (CALLING % "stop")).partition('"choices" : ')

    choices, _, end = behind.partition(', "model"')
    assert before == f'{{{SHARED}"id":"chatcmpl-ours", "n":1.50, '
    assert json.loads(choices) == [json.loads(CALLING % "tool_calls")]
    assert end.startswith(':"public","usage":{')
    assert end.endswith(', "z":1E2}')


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls"])
def test_another_end_of_calls_stays_as_it_came(reason: str) -> None:
    choices = f"[ {CALLING % reason} ]"

    assert choices in told(f'{{{SHARED}"id":"x","model":"gpt","choices":{choices},"usage":{{}}}}')


@pytest.mark.parametrize(
    ("choice", "mended"),
    [
        ({"message": {}}, {"content": None}),
        ({"message": {"role": "assistant", "content": "a"}}, {"content": "a"}),
        ({"index": 0, "message": {"content": "a", "refusal": "No."}}, {"refusal": "No."}),
        ({"message": {"content": "a", "tool_calls": []}}, {"content": "a"}),
        ({"message": {"content": "a", "tool_calls": None}}, {"content": "a"}),
        ({"logprobs": {"content": []}, "message": {"content": "a", "more": 1}}, {"more": 1}),
    ],
)
def test_what_a_choice_leaves_out_is_said_and_no_calls_are_no_calls(
    choice: dict[str, Any], mended: dict[str, Any]
) -> None:
    body = {"id": "x", "model": "gpt", "choices": [{**choice, "finish_reason": "stop"}]}

    (said,) = json.loads(told(json.dumps(body)))["choices"]

    assert said["message"].items() >= mended.items()
    assert {"role", "content", "refusal"} <= said["message"].keys()
    assert "tool_calls" not in said["message"]
    assert (said["index"], said["finish_reason"]) == (0, "stop")
    assert said["logprobs"] == choice.get("logprobs")


def test_what_an_answer_leaves_out_is_said_last_and_the_rest_keeps_its_bytes() -> None:
    choices = f"[ {CALLING % 'length'} ]"

    answer = told(f'{{"model":"gpt", "n":1.50,"choices":{choices} }}')

    assert answer.startswith(f'{{"model":"public", "n":1.50,"choices":{choices} ,"id":')
    assert (
        json.loads(answer).items()
        >= {
            "id": "chatcmpl-ours",
            "object": "chat.completion",
            "created": ANSWER.created,
            "system_fingerprint": ANSWER.fingerprint,
        }.items()
    )


MESSAGE = b'{"role":"assistant","content":"secret"}'
NO_COMPLETIONS = {
    "no choices": b'{"choices":[]}',
    "no list of choices": b'{"choices":{}}',
    "an empty choice": b'{"choices":[{}]}',
    "no message": b'{"choices":[{"finish_reason":"stop"}]}',
    "a message of a wrong type": b'{"choices":[{"message":"secret","finish_reason":"stop"}]}',
    "no reason": b'{"choices":[{"message":%b}]}' % MESSAGE,
    "an empty reason": b'{"choices":[{"message":%b,"finish_reason":""}]}' % MESSAGE,
    "no reason but null": b'{"choices":[{"message":%b,"finish_reason":null}]}' % MESSAGE,
    "a reason of a wrong type": b'{"choices":[{"message":%b,"finish_reason":1}]}' % MESSAGE,
    "one of two": b'{"choices":[{"message":%b,"finish_reason":"stop"},{"message":%b}]}'
    % (MESSAGE, MESSAGE),
}
TEXT = b'[{"type":"text","text":"secret"}]'
NO_MESSAGES = {
    "no type": b'{"content":%b,"stop_reason":"end_turn"}' % TEXT,
    "another type": b'{"type":"secret","content":%b,"stop_reason":"end_turn"}' % TEXT,
    "no content": b'{"type":"message","stop_reason":"end_turn"}',
    "no blocks": b'{"type":"message","content":[1],"stop_reason":"end_turn"}',
    "a block without its type": b'{"type":"message","content":[{}],"stop_reason":"end_turn"}',
    "no reason": b'{"type":"message","content":[]}',
    "no reason but null": b'{"type":"message","content":%b,"stop_reason":null}' % TEXT,
    "a reason of a wrong type": b'{"type":"message","content":%b,"stop_reason":1}' % TEXT,
}


@pytest.mark.parametrize("body", NO_COMPLETIONS.values(), ids=NO_COMPLETIONS)
def test_what_is_no_completion_is_its_providers_fault(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        openai.DIALECT.patch_answer(body, REQUEST, ANSWER)
    assert caught.value.message == "The model's provider sent an answer that is no completion."


@pytest.mark.parametrize("body", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_what_is_no_message_is_its_providers_fault(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        anthropic.DIALECT.patch_answer(body, REQUEST, ANSWER)
    assert caught.value.message == "The model's provider sent an answer that is no message."


def test_an_answer_may_say_nothing() -> None:
    silent = b'{"choices":[{"message":{"role":"assistant"},"finish_reason":"length"}]}'
    refusal = b'{"type":"message","content":[],"stop_reason":"refusal"}'

    assert openai.DIALECT.patch_answer(silent, REQUEST, ANSWER).count() == 0
    assert anthropic.DIALECT.patch_answer(refusal, REQUEST, ANSWER).count() == 0

"""Chunks that pass through keep their bytes, but for the fields that are ours."""

import json

import pytest

from tests.gateway.dialects.relaying import through_openai

OURS = '"id":"chatcmpl-ours","object":"chat.completion.chunk","created":1,"model":"public"'
THEIRS = '"id":"x1","object":"chat.completion.chunk","created":7,"model":"gpt"'
SAID = '"choices":[{"index":0,"delta":{"content":"caf\\u00e9"},"finish_reason":null}]'


ROLE = '"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]'


def last_frame(*bodies: str, include_usage: bool = False) -> str:
    """Return the last of these chunks, behind one that says who speaks, as a caller gets it."""
    spoken = [f"{{{THEIRS},{ROLE}}}", *bodies]
    got = through_openai(
        [f"data: {body}\n\n".encode() for body in spoken], include_usage=include_usage
    )
    frames = got.frames.decode().split("\n\n")
    return frames[len(bodies)].removeprefix("data: ")


@pytest.mark.parametrize(
    "rest",
    [
        SAID,
        SAID + ',"obfuscation":"a8"',
        SAID + ',"system_fingerprint":null , "x":[1.50,1E2,-0.0]',
        '"choices":[ {"delta" : {"content":"a\\/b"}, "index":0,  "finish_reason":null} ]',
    ],
)
def test_every_byte_from_the_choices_on_is_as_it_came(rest: str) -> None:
    assert last_frame(f"{{{THEIRS},{rest}}}") == f"{{{OURS},{rest}}}"


def test_fields_of_theirs_before_the_choices_stay_where_they_were() -> None:
    sent = f'{{"service_tier":"default",{THEIRS}, "system_fingerprint": "fp", {SAID}}}'

    assert last_frame(sent) == (
        f'{{"service_tier":"default",{OURS},"system_fingerprint":"fp",{SAID}}}'
    )


def test_a_head_that_changes_in_mid_stream_is_ours_all_the_same() -> None:
    other = THEIRS.replace("x1", "x2").replace("gpt", "gpt-next")

    assert last_frame(f"{{{THEIRS},{SAID}}}", f"{{{other},{SAID}}}") == f"{{{OURS},{SAID}}}"


@pytest.mark.parametrize("null", [',"usage":null', ', "usage": null'])
def test_an_empty_usage_is_left_out_where_nobody_asked_for_it(null: str) -> None:
    sent = f'{{{THEIRS},{SAID}{null},"obfuscation":"a8"}}'

    assert last_frame(sent) == f'{{{OURS},{SAID},"obfuscation":"a8"}}'
    assert last_frame(sent, include_usage=True) == sent.replace(THEIRS, OURS)


def test_an_empty_usage_is_there_where_somebody_asked_for_it() -> None:
    sent = f"{{{THEIRS},{SAID}}}"

    assert last_frame(sent, include_usage=True) == f'{{{OURS},{SAID},"usage":null}}'


def test_words_that_look_like_fields_are_words() -> None:
    said = SAID.replace("caf\\u00e9", '{\\"choices\\":[],\\"usage\\":null,\\"id\\":\\"x1\\"}')

    assert last_frame(f"{{{THEIRS},{said}}}") == f"{{{OURS},{said}}}"


@pytest.mark.parametrize(
    "sent",
    [
        f'{{{SAID},"id":"x1","model":"gpt"}}',
        f'{{"id":"x1",{SAID},"model":"gpt"}}',
        f'{{"usage":null,{THEIRS},{SAID}}}',
        f"{{{THEIRS},{SAID}}}".replace('"choices":', '"choices" :'),
        f'{{{THEIRS},{SAID},"x":NaN}}',
        f'{{{THEIRS},{SAID},"usage":null,"more":{{"a":1,"usage":null}}}}',
        f"{{{THEIRS},{SAID}}}".replace(',"finish_reason":null', ""),
        f"{{{THEIRS},{SAID}}}".replace("{", "{\ndata: ", 1),
    ],
)
def test_a_chunk_that_is_built_otherwise_is_written_anew_under_our_name(sent: str) -> None:
    chunk = json.loads(last_frame(sent))

    assert (chunk["id"], chunk["object"]) == ("chatcmpl-ours", "chat.completion.chunk")
    assert (chunk["created"], chunk["model"]) == (1, "public")
    assert chunk["choices"] == [{"index": 0, "delta": {"content": "café"}, "finish_reason": None}]
    assert "usage" not in chunk
    assert chunk.get("x") is None

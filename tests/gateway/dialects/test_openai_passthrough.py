"""OpenAI to OpenAI: every frame a caller gets is whole, ours, and in the contract's form."""

import json
from typing import Any

import pytest

from billing.usage import NO_USAGE, SHRUNK, Usage
from gateway.chat import ToolMode
from gateway.tokenizer import count_tokens
from tests.gateway.dialects.relaying import chunks_of, through_openai
from tests.gateway.translation.transcripts import (
    DONE,
    OPENAI,
    PIECES,
    THOUGHTS,
    WORDS,
    openai_frame,
)

ROLE = openai_frame({"role": "assistant", "content": ""})
WORD = openai_frame({"content": " word"})
END = openai_frame({}, "stop")
SECRET = b'{"message":"secret of the upstream","type":"server_error"}'


def data(text: bytes) -> bytes:
    return b"data: " + text + b"\n\n"


def words_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


ERRORS = {
    "error first": data(b'{"error":%b}' % SECRET),
    "spaces": data(b'{ "error" : %b }' % SECRET),
    "id first": data(b'{"id":"x","error":%b}' % SECRET),
    "text": data(b'{"error":"secret of the upstream"}'),
    "named": b"event: error\n" + data(b'{"error":%b}' % SECRET),
    "named alone": b"event: error\n" + data(SECRET),
    "beside choices": openai_frame({"content": ""}, error={"message": "secret of the upstream"}),
    "in a choice": openai_frame({"content": ""}).replace(
        b'"delta"', b'"error":%b,"delta"' % SECRET
    ),
    "with usage": data(b'{"usage":{"prompt_tokens":9},"error":%b}' % SECRET),
    "an object of errors": data(b'{"object":"error","message":"secret of the upstream"}'),
}
MALFORMED = {
    "no JSON": data(b'{"id":"x","choices":[{"index":0,"delta":{"content":"sec'),
    "no UTF-8": data(b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}'),
    "a list": data(b"[]"),
    "a text": data(b'"secret"'),
    "no object at all": data(b"secret"),
    "choices of a wrong type": data(b'{"choices":"secret"}'),
    "a choice of a wrong type": data(b'{"choices":["secret"]}'),
    "a delta of a wrong type": data(b'{"choices":[{"delta":"secret"}]}'),
    "a number of a wrong type": data(b'{"choices":[{"index":"secret","delta":{}}]}'),
    "a choice that was not asked for": data(b'{"choices":[{"index":1,"delta":{}}]}'),
    "nothing of a chunk": data(b'{"id":"secret"}'),
}


@pytest.mark.parametrize("bad", [*ERRORS.values(), *MALFORMED.values()], ids=[*ERRORS, *MALFORMED])
@pytest.mark.parametrize("together", [True, False], ids=["in one read", "frame by frame"])
def test_a_fault_in_a_stream_is_said_in_our_words_after_what_was_relayed(
    bad: bytes, *, together: bool
) -> None:
    frames = [ROLE, WORD, WORD, bad, WORD, END, DONE]

    got = through_openai([b"".join(frames)] if together else frames)

    assert words_of(chunks_of(got)) == " word word"
    assert got.fault is not None
    assert got.tokens == 2
    assert b"sec" not in got.frames


FIELDS = {
    "id": b"id: 7\n" + WORD,
    "name": b"event: completion\n" + WORD,
    "retry": b"retry: 5\n" + WORD,
    "unknown": b"x-y: 1\n" + WORD,
    "after": WORD.removesuffix(b"\n") + b"id: 7\n\n",
    "no blank": WORD.replace(b"data: ", b"data:"),
    "two lines": WORD.replace(b',"choices"', b'\ndata: ,"choices"'),
    "comment": b": secret\n\n: secret\n" + WORD,
    "nothing": b"data:\n\n" + WORD,
    "named otherwise": b'event: ping\ndata: {"secret":1}\n\n' + WORD,
}


@pytest.mark.parametrize("frame", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("place", [0, 1])
def test_other_fields_of_frames_are_left_out_wherever_they_stand(frame: bytes, place: int) -> None:
    frames = [ROLE, WORD]
    frames[place] = frame

    got = through_openai([*frames, WORD, END, DONE])

    assert got.fault is None
    assert words_of(chunks_of(got)) == " word" * (3 - (place == 1))
    assert got.tokens == 3 - (place == 1)
    assert b"secret" not in got.frames


def test_nothing_after_the_end_reaches_the_caller_or_counts() -> None:
    late = openai_frame({"content": " late"}) + openai_frame(None, usage={"prompt_tokens": 1})

    for parts in ([ROLE + WORD + END + DONE + late], [ROLE, WORD, END, DONE, late + b"data: {"]):
        got = through_openai(parts)

        assert words_of(chunks_of(got)) == " word"
        assert (got.tokens, got.usage) == (1, None)


def with_fields(frame: bytes, **fields: Any) -> bytes:
    body = json.loads(frame.removeprefix(b"data: "))
    return data(json.dumps({**body, **fields}).encode())


def test_every_frame_leaves_under_our_id_and_model_whatever_the_first_one_said() -> None:
    azure = with_fields(
        openai_frame(None, prompt_filter_results=[{"prompt_index": 0}]), id="", model="", object=""
    )
    filtered = data(
        b'{"choices":[{"content_filter_results":{},"index":0}],"created":0,"id":"","model":""}'
    )
    changing = [with_fields(WORD, id=f"up-{n}", model=f"m-{n}", created=n) for n in range(3)]
    bare = data(b'{"choices":[{"delta":{"content":" word"}}]}')
    twice = WORD.replace(b'"model":"up-1"', b'"model":"up-1","model":"up-1","id":"up"')

    got = through_openai([azure, ROLE, filtered, *changing, bare, twice, END, DONE])

    chunks = chunks_of(got)
    assert words_of(chunks) == " word" * 5
    assert chunks[1]["choices"][0]["content_filter_results"] == {}
    assert b"up-" not in got.frames
    assert b"m-" not in got.frames


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_chunk_of_no_choices_is_for_usage_alone(*, include_usage: bool) -> None:
    empty = openai_frame(None, prompt_filter_results=[])
    usage = openai_frame(None, usage={"prompt_tokens": 9, "completion_tokens": 1})
    parts = [empty, ROLE, WORD, END, empty, usage, empty, DONE]

    got = through_openai(parts, include_usage=include_usage)

    chunks = chunks_of(got, include_usage=include_usage)
    assert [len(chunk["choices"]) for chunk in chunks] == [1, 1, 1] + [0] * include_usage
    assert got.usage == Usage(input=9, output=1, request=1)
    assert [chunk["usage"] for chunk in chunks[:3] if "usage" in chunk] == [None] * (
        3 * include_usage
    )


def test_of_two_reports_the_last_one_counts_and_is_shown_alone() -> None:
    first, second = (
        openai_frame(None, usage={"prompt_tokens": 9, "completion_tokens": n}) for n in (1, 2)
    )

    got = through_openai([ROLE, WORD, END, first, second, DONE], include_usage=True)

    chunks = chunks_of(got, include_usage=True)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk["usage"]] == [2]
    assert got.usage == Usage(input=9, output=2, request=1)


@pytest.mark.parametrize(
    "report",
    [
        b'"usage" : {"prompt_tokens":9,"completion_tokens":1}',
        b'"usage":\t{"prompt_tokens":9,"completion_tokens":1}',
    ],
)
def test_usage_is_found_however_it_is_written(report: bytes) -> None:
    chunk = openai_frame(None).replace(b'"choices":[]', b'"choices":[],' + report)

    got = through_openai([ROLE, WORD, END, chunk, DONE])

    assert chunks_of(got)[-1]["choices"][0]["finish_reason"] == "stop"
    assert got.usage == Usage(input=9, output=1, request=1)


def test_a_figure_that_is_no_number_ends_no_answer() -> None:
    chunk = openai_frame(None, usage={"prompt_tokens": 9, "completion_tokens": 77})

    got = through_openai([ROLE, WORD, END, chunk.replace(b"77", b"NaN"), DONE], include_usage=True)

    assert got.fault is None
    assert chunks_of(got, include_usage=True)[-1]["usage"]["completion_tokens"] is None
    assert (got.usage, got.tokens) == (NO_USAGE, 1)


def test_halves_of_a_character_pass_as_they_came() -> None:
    halves = [WORD.replace(b" word", half) for half in (rb"\ud83d", rb"\ude00")]

    got = through_openai([ROLE, *halves, END, DONE])

    whole = words_of(chunks_of(got)).encode("utf-16", "surrogatepass").decode("utf-16")
    assert whole == "😀"


@pytest.mark.parametrize(("tool_mode", "first"), [(ToolMode.NONE, ""), (ToolMode.AUTO, None)])
def test_a_role_is_said_once_and_a_null_is_no_content_but_where_a_call_may_follow(
    tool_mode: ToolMode, first: str | None
) -> None:
    parts = [
        openai_frame({"role": "assistant", "content": None}),
        openai_frame({"role": "assistant", "content": "a"}),
        openai_frame({"content": None, "reasoning_content": "b c"}),
        *[END, DONE],
    ]

    got = through_openai(parts, tool_mode=tool_mode)

    assert [chunk["choices"][0]["delta"] for chunk in chunks_of(got)] == [
        {"role": "assistant", "content": first},
        {"content": "a"},
        {"reasoning_content": "b c"},
        {},
    ]
    assert got.tokens == 1 + 2


def test_who_speaks_is_said_in_the_first_chunk_of_each_choice_and_there_alone() -> None:
    first = openai_frame({"content": "a"})
    second = first.replace(b'"index":0', b'"index":1')
    late = openai_frame({"role": "assistant", "content": None})
    ends = [END, END.replace(b'"index":0', b'"index":1')]

    got = through_openai([first, second, first, late, *ends, DONE], n=2)

    assert [chunk["choices"][0]["delta"] for chunk in chunks_of(got)] == [
        *[{"role": "assistant", "content": "a"}] * 2,
        {"content": "a"},
        *[{}] * 3,
    ]


def test_all_that_is_said_is_counted_in_whichever_field() -> None:
    deltas: list[dict[str, Any]] = [
        {"content": "a b"},
        {"reasoning_content": "a b", "reasoning": "a b"},
        {"reasoning": "a b"},
        {"refusal": "a b"},
        {"function_call": {"arguments": "a b"}},
        {"tool_calls": [{"index": 0, "function": {"arguments": "a b"}}]},
        {"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a b"}]}]},
    ]

    got = through_openai([*map(openai_frame, deltas), END, DONE])

    assert got.tokens == 2 * len(deltas)
    said = (*WORDS, *THOUGHTS, *PIECES, "{}")
    assert through_openai([OPENAI]).tokens == sum(map(count_tokens, said))


def test_several_choices_pass_each_under_its_number() -> None:
    def of(index: int, delta: dict[str, Any]) -> bytes:
        return openai_frame(delta).replace(b'"index":0', b'"index":%d' % index)

    parts = [of(n, {"role": "assistant", "content": "a"}) for n in (0, 1)]

    ends = [END, END.replace(b'"index":0', b'"index":1')]

    got = through_openai([*parts, of(1, {"content": "b"}), *ends, DONE], n=2)

    assert [chunk["choices"][0]["index"] for chunk in chunks_of(got)] == [0, 1, 1, 0, 1]
    assert (got.fault, got.tokens) == (None, 3)


SECOND = WORD.replace(b'"index":0', b'"index":1')


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], 0),
        ([ROLE], 0),
        ([openai_frame(None, usage={"prompt_tokens": 9, "completion_tokens": 1})], 0),
        ([ROLE, WORD], 1),
        ([ROLE, WORD, openai_frame({"content": " word"}, "")], 2),
        ([ROLE, WORD, SECOND, END], 2),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one read", "frame by frame"])
def test_an_end_before_every_choice_has_said_why_it_ended_is_none(
    parts: list[bytes], words: int, *, together: bool
) -> None:
    frames = [*parts, DONE]

    got = through_openai([b"".join(frames)] if together else frames, n=2)

    assert words_of(chunks_of(got)) == " word" * words
    assert got.fault is not None
    assert got.fault.message == "The model's provider broke off its answer."
    assert got.tokens == words


@pytest.mark.parametrize(
    "end",
    [
        openai_frame({"content": " word"}, "length"),
        openai_frame({}, "length", usage={"prompt_tokens": 9, "completion_tokens": 1}),
        data(b'{"choices":[{"finish_reason":"length"}]}'),
        openai_frame({}, "length") + openai_frame({}, content_filter_offsets={}),
    ],
    ids=["with its last word", "with usage", "alone", "before what a filter says"],
)
def test_a_choice_ends_in_whichever_chunk_says_why(end: bytes) -> None:
    got = through_openai([ROLE, WORD, end, DONE])

    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks_of(got)]
    assert [reason for reason in reasons if reason] == ["length"]
    assert got.fault is None


def test_fewer_choices_than_asked_for_are_an_answer() -> None:
    got = through_openai([ROLE, WORD, END, DONE], n=3)

    assert words_of(chunks_of(got)) == " word"
    assert got.fault is None


def test_figures_that_shrink_are_none() -> None:
    reports = [
        openai_frame(None, usage={"prompt_tokens": 9, "completion_tokens": tokens})
        for tokens in (50, 20, 60)
    ]

    got = through_openai([ROLE, WORD, END, *reports, DONE])

    assert got.usage is SHRUNK

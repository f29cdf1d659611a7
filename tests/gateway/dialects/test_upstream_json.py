"""What upstreams write as JSON: nearly all of it is readable, and what goes on is valid."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.sse import FrameReader
from gateway.dialects.upstream_json import read_object, write_object
from kernel.errors import UpstreamError


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b' {"a": 1.5, "b": [true, null]} ', b'{"a":1.5,"b":[true,null]}'),
        (b'{"a":NaN,"b":-Infinity}', b'{"a":null,"b":null}'),
        (b'{"a":"\\ud83d"}', b'{"a":"\\ud83d"}'),
        ('{"a":"é\\u00e9"}'.encode(), '{"a":"éé"}'.encode()),
        (b'{"a":1,"a":2}', b'{"a":2}'),
    ],
)
def test_what_can_be_read_goes_on_as_valid_json(came: bytes, goes: bytes) -> None:
    assert write_object(read_object(came)) == goes
    json.loads(goes)


@pytest.mark.parametrize(
    "broken",
    [
        *[b"", b"{", b'{"a":1}x', b"[1]", b"null", b'"a"', b"{'a':1}", b'{"a":\xff\xfe}'],
        '{"a":1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' * 100_000,
        b'{"a":%b}' % (b"9" * 5_000),
        b'{"a":"\x01"}',
    ],
)
def test_what_is_no_json_object_is_the_upstreams_fault(broken: bytes) -> None:
    with pytest.raises(UpstreamError):
        read_object(broken)


@pytest.mark.parametrize("depth", [300, 900])
def test_what_is_too_deep_to_be_written_is_the_upstreams_fault_or_goes_on(depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth

    try:
        written = write_object(read_object(deep))
    except UpstreamError:
        return
    assert written == deep


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists)))
def test_what_was_read_says_the_same_when_it_is_written(value: dict[str, Any]) -> None:
    read = read_object(json.dumps(value).encode())

    assert json.loads(write_object(read)) == read


LINES = [
    (b"data: {}\n\n", [(b"", b"{}")]),
    (b"data:{}\n\n", [(b"", b"{}")]),
    (b"id: 7\nevent: x\nretry: 1\ndata: {}\n\n", [(b"x", b"{}")]),
    (b": comment\n\n:\n\ndata: {}\n\n", [(b"", b"{}")]),
    (b'data: {"a":\ndata: 1}\n\n', [(b"", b'{"a":\n1}')]),
    (b"event: x\n\n", []),
    (b"data\n\ndata:\n\n", []),
    (b"data: [DONE] \n\n", [(b"", b"[DONE]")]),
    (b"datax: 1\n\n", []),
    (b"\n\n\ndata: 1\n\n\n\n", [(b"", b"1")]),
    (b"data: 1\ndata: 2", []),
]


@pytest.mark.parametrize(("stream", "said"), LINES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_legal_way_to_write_a_frame_is_read(stream: bytes, said: Any, end: bytes) -> None:
    # a CR at the very end may be half of a CR LF: what follows tells
    data = stream.replace(b"\n", end) + b": more" * (end == b"\r")

    frames = list(FrameReader().feed(data))

    assert [(frame.name, frame.payload) for frame in frames] == said


@given(st.data())
def test_frames_are_the_same_however_their_bytes_are_cut(data: Any) -> None:
    pieces = st.sampled_from([b"data: 1", b"event: x", b"\n", b"\r", b"\r\n", b"\n\n", b":"])
    stream = b"".join(data.draw(st.lists(pieces)))
    cut = data.draw(st.integers(0, len(stream)))
    whole, parts = FrameReader(), FrameReader()

    at_once = list(whole.feed(stream + b"x"))

    assert [*parts.feed(stream[:cut]), *parts.feed(stream[cut:] + b"x")] == at_once

"""The simulator's vectors and how they are written."""

import asyncio
import base64
import math
import struct
from typing import Any

import orjson
import pytest

from billing.usage import NO_USAGE, Evidence, Usage
from gateway.chat import Answer, ChatRequest, Embed, Embedded
from gateway.dialects.openai import EMBEDDINGS
from gateway.dialects.receipts import Receipt
from gateway.providers.simulator import FULL_SPEED
from gateway.providers.simulator.vectors import (
    DIMENSIONS,
    EmbeddedUpstream,
    check_dimensions,
    make_vector,
)
from kernel.errors import BadRequestError, UpstreamError
from kernel.money import Nanos

ANSWER = Answer("unused", "text-embedding-3-small", 0, "fp_1")
ONE = ChatRequest("m", (), {}, embed=Embed(("a",)))
RECEIPT = Receipt(Usage(embedding=3, request=1), Nanos(60), Evidence.PROVIDER)
USAGE = (
    b'"usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.00000006,'
    b'"x_tollgate":{"evidence":"provider"}}}'
)


def numbers(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


@pytest.mark.parametrize("dimensions", [1, 2, 256, 1_536])
@pytest.mark.parametrize("text", ["Hello", "\ud800", (1, 2), (0,)])
def test_a_vector_has_the_asked_dimensions_and_length_one(text: Any, dimensions: int) -> None:
    vector = numbers(make_vector(text, dimensions))

    assert len(vector) == dimensions
    assert math.isclose(sum(number**2 for number in vector), 1, abs_tol=1e-6)


def test_equal_texts_have_equal_vectors_and_others_have_others() -> None:
    texts: list[Any] = ["Hello", "hello", "Hello ", (1, 2), (1, 2, 0), (258,)]
    vectors = [make_vector(text, 8) for text in texts]

    assert [make_vector(text, 8) for text in texts] == vectors
    assert len(set(vectors)) == len(texts)


def test_fewer_dimensions_are_the_first_ones_at_length_one_again() -> None:
    whole, short = numbers(make_vector("Hello", DIMENSIONS)), numbers(make_vector("Hello", 3))
    length = math.sqrt(sum(number**2 for number in whole[:3]))

    assert short == pytest.approx([number / length for number in whole[:3]], abs=1e-6)


def test_more_dimensions_than_there_are_are_refused() -> None:
    assert check_dimensions(Embed(("a",))) == DIMENSIONS
    with pytest.raises(BadRequestError) as caught:
        check_dimensions(Embed(("a",), DIMENSIONS + 1))
    assert (caught.value.param, caught.value.code) == ("dimensions", "integer_above_max_value")


def rendered(*, is_base64: bool) -> bytes:
    form = "base64" if is_base64 else "float"
    body = orjson.dumps({"model": "m", "input": ["a", "b"], "encoding_format": form})
    request = EMBEDDINGS.check_request(
        EMBEDDINGS.read_body(body), max_output_tokens=1, context_tokens=10
    )
    events = [
        Embedded(1, struct.pack("<2f", 0.0, -1.0)),
        Embedded(0, struct.pack("<2f", 1.0, 0.5)),
    ]
    return EMBEDDINGS.render_answer(request, ANSWER, events, RECEIPT)


def test_a_list_as_numbers_byte_for_byte() -> None:
    assert rendered(is_base64=False) == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[1.0,0.5]},'
        b'{"object":"embedding","index":1,"embedding":[0.0,-1.0]}],'
        b'"model":"text-embedding-3-small",' + USAGE
    )


def test_a_list_as_base64_byte_for_byte() -> None:
    first = base64.b64encode(b"\x00\x00\x80\x3f\x00\x00\x00\x3f")
    second = base64.b64encode(b"\x00\x00\x00\x00\x00\x00\x80\xbf")
    assert rendered(is_base64=True) == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":"' + first + b'"},'
        b'{"object":"embedding","index":1,"embedding":"' + second + b'"}],'
        b'"model":"text-embedding-3-small",' + USAGE
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"data":{}}',
        b'{"data":[]}',
        b'{"data":[{"embedding":[1]},{"embedding":[1]}]}',
        b'{"data":[1]}',
        b'{"data":[{}]}',
        b'{"data":[{"embedding":null}]}',
        b'{"error":{"message":"secret"}}',
    ],
)
def test_an_upstreams_nonsense_is_its_fault_and_not_shown(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        EMBEDDINGS.patch_answer(body, ONE, ANSWER)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("usage", "figures"),
    [
        *[(b"null", None), (b"5", None), (b"{}", None)],
        *[(b'{"prompt_tokens":-1}', NO_USAGE), (b'{"prompt_tokens":true}', NO_USAGE)],
        *[(b'{"prompt_tokens":NaN}', NO_USAGE), (b'{"total_tokens":9}', NO_USAGE)],
    ],
)
def test_figures_that_cannot_be_true_are_told_from_none_at_all(
    usage: bytes, figures: Usage | None
) -> None:
    body = b'{"data":[{"embedding":"AAAA"}],"usage":%b}' % usage

    assert EMBEDDINGS.patch_answer(body, ONE, ANSWER).usage == figures


def test_other_work_gets_its_turn_between_many_vectors() -> None:
    embed = Embed(("a",) * 64, 8)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def run() -> int:
        counter = asyncio.ensure_future(count_turns())
        request = ChatRequest("m", (), {}, embed=embed)
        events = [
            event
            async for batch in EmbeddedUpstream(request, embed, FULL_SPEED).batches()
            for event in batch
        ]
        counter.cancel()
        return len(events)

    assert asyncio.run(run()) == 64 + 1
    assert turns >= 4

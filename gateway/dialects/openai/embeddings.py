"""Embeddings: what vectors are asked of, and the list of them.

Both official clients ask for base64 by default: the bytes of little-endian float32 numbers.
"""

import base64
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from billing.usage import NO_USAGE, Usage
from gateway.chat import Answer, ChatRequest, Embed, Embedded, StreamEvent
from gateway.dialects.answer_bytes import CutAnswer, read_answer
from gateway.dialects.base import Envelope
from gateway.dialects.bodies import parse_body
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import missing, refusal, wrong_type
from gateway.dialects.openai.requests import read_model
from gateway.dialects.openai.usage import is_count
from gateway.dialects.receipts import Receipt
from gateway.dialects.writing import dump_text
from gateway.tokenizer import MOST_TOKEN_BYTES, byte_length, count_tokens
from kernel.errors import UpstreamError

MOST_INPUTS = 2_048
MOST_DIMENSIONS = 2**16
TOKEN = fields.integer(0, 2**31 - 1)
FORMAT = fields.one_of("float", "base64")
DIMENSIONS = fields.integer(1, MOST_DIMENSIONS)


def read_body(body: bytes) -> Envelope:
    """Read a body as far as its model and the presence of an input.

    Raises:
        BadRequestError: no JSON object, no model, no input.

    """
    wire = parse_body(body)
    model = read_model(wire)
    wire.pop("models", None)  # vectors of two models cannot be compared, by an upstream neither
    if wire.get("input") is None:
        raise missing("input")
    return Envelope(model, wire)


def check_request(envelope: Envelope, *, context_tokens: int) -> ChatRequest:
    """Check everything else and return the request.

    Raises:
        BadRequestError: with the field's path and the contract's code.

    """
    wire = envelope.wire
    for name, check in (
        ("encoding_format", FORMAT),
        ("dimensions", DIMENSIONS),
        ("user", fields.string),
    ):
        if wire.get(name) is not None:
            check(name, wire[name])
    inputs = _parse_input(wire["input"])
    for text in inputs:
        _check_length(text, context_tokens)
    asked = Embed(inputs, wire.get("dimensions"), wire.get("encoding_format") == "base64")
    return ChatRequest(envelope.model, (), wire, embed=asked, user=wire.get("user"))


def _parse_input(sent: Any) -> tuple[str | tuple[int, ...], ...]:
    """Return the inputs in their order; every fault has the param ``input``."""
    if type(sent) is str:
        return (_text(sent),)
    if type(sent) is not list:
        raise wrong_type("input", "a string, an array of strings or arrays of tokens", sent)
    if not sent:
        raise refusal("input", "Invalid 'input': the array is empty.", "empty_array")
    first = sent[0]
    if type(first) not in (str, list):
        return (_tokens(sent),)
    fields.at_most("input", sent, MOST_INPUTS)
    if type(first) is str:
        return tuple([_text(each) for each in sent])
    return tuple([_tokens(each) for each in sent])


def _text(sent: Any) -> str:
    fields.string("input", sent)
    if not sent:
        raise refusal("input", "Invalid 'input': a text must not be an empty string.")
    text: str = sent
    return text


def _tokens(sent: Any) -> tuple[int, ...]:
    fields.array("input", sent)
    if not sent:
        raise refusal("input", "Invalid 'input': the array of tokens is empty.", "empty_array")
    for token in sent:
        TOKEN("input", token)
    return tuple(sent)


def _check_length(text: str | tuple[int, ...], context_tokens: int) -> None:
    """Check one input against the model; lengths decide almost always, tokens near the limit."""
    if isinstance(text, str):
        size = byte_length(text)
        if size <= context_tokens:
            return
        is_hopeless = size > context_tokens * MOST_TOKEN_BYTES
        tokens = None if is_hopeless else count_tokens(text)
    else:
        tokens = len(text)
    if tokens is None or tokens > context_tokens:
        counted = f"more than {context_tokens}" if tokens is None else tokens
        raise refusal(
            "input",
            f"This model's maximum context length is {context_tokens} tokens. "
            f"However, an input has {counted} tokens. Please reduce its length.",
            "context_length_exceeded",
        )


def render_answer(
    request: ChatRequest, answer: Answer, events: Iterable[StreamEvent], receipt: Receipt
) -> bytes:
    """Return the list of vectors in the order of their inputs."""
    assert request.embed is not None, "only embeddings are rendered here"
    write = _write_base64 if request.embed.is_base64 else _write_floats
    vectors = sorted((event.place, event.vector) for event in events if isinstance(event, Embedded))
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (
        b",".join(
            b'{"object":"embedding","index":%d,"embedding":%b}' % (place, write(vector))
            for place, vector in vectors
        ),
        dump_text(answer.model),
        orjson.dumps({**render_usage(receipt.usage), **receipt.fields()}),
    )


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return the figures; nothing is written, so the total is the prompt."""
    return {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}


def _write_base64(vector: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(vector)


def _write_floats(vector: bytes) -> bytes:
    return orjson.dumps(array("f", vector).tolist())


@dataclass(frozen=True, slots=True)
class PatchedEmbeddings:
    """A provider's list under our name of the model, and its figures where it gave any.

    ``reported`` is how those came.
    """

    cut: CutAnswer
    reported: object
    usage: Usage | None

    def count(self) -> int:
        """Return 0: nothing is written."""
        return 0

    def render(self, receipt: Receipt) -> bytes:
        return self.cut.render(receipt.write(self.reported, render_usage))


def patch_answer(body: bytes, request: ChatRequest, answer: Answer) -> PatchedEmbeddings:
    """Read and patch a provider's list.

    Raises:
        UpstreamError: for what is no list of embeddings, one for each input.

    """
    assert request.embed is not None, "only embeddings are patched here"
    read = read_answer(body)
    vectors = read.members.get("data")
    if not isinstance(vectors, list) or not all(map(_is_vector, vectors)):
        raise UpstreamError("The model's provider sent an answer that holds no embeddings.")
    if len(vectors) != len(request.embed.inputs):
        raise UpstreamError("The model's provider did not embed each input once.")
    cut = read.cut({"model": answer.model})
    reported = read.members.get("usage")
    return PatchedEmbeddings(cut, reported, _parse_usage(reported))


def _is_vector(each: object) -> bool:
    return isinstance(each, dict) and isinstance(each.get("embedding"), list | str)


def _parse_usage(usage: object) -> Usage | None:
    if not isinstance(usage, dict) or not usage:
        return None
    tokens = usage.get("prompt_tokens")
    return Usage(embedding=tokens, request=1) if is_count(tokens) else NO_USAGE

"""A provider has no room for a prompt: said so that clients know it, in each dialect."""

import json
from typing import Any, Never

import pytest

from gateway.dialects import anthropic, openai, responses
from gateway.dialects.base import Dialect
from gateway.dialects.openai.incoming import EventReader
from gateway.providers.faults import BeyondContextError
from gateway.providers.translated import open_translated
from kernel.errors import BadRequestError

SENTENCE = (
    "prompt is too long: it has more tokens than this model's maximum context length. "
    "Please reduce its length."
)


async def refuse() -> Never:
    raise BeyondContextError


def told(dialect: Dialect, error: BadRequestError) -> tuple[int, Any]:
    body = json.loads(dialect.render_error(error, "req_1"))
    return dialect.error_status(error), body["error"]


@pytest.mark.parametrize(
    ("dialect", "prompt"),
    [
        (openai.DIALECT, "messages"),
        (openai.EMBEDDINGS, "input"),
        (responses.DIALECT, "input"),
    ],
)
async def test_openais_callers_know_it_by_its_code_and_find_the_prompt_named(
    dialect: Dialect, prompt: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await open_translated(refuse(), EventReader())

    for error in (BeyondContextError(), caught.value):
        assert told(dialect, error) == (
            400,
            {
                "message": SENTENCE,
                "type": "invalid_request_error",
                "param": prompt,
                "code": "context_length_exceeded",
            },
        )


async def test_anthropics_callers_know_it_by_its_first_words() -> None:
    with pytest.raises(BadRequestError) as caught:
        await open_translated(refuse(), EventReader())

    for error in (BeyondContextError(), caught.value):
        assert told(anthropic.DIALECT, error) == (
            400,
            {"type": "invalid_request_error", "message": SENTENCE},
        )


def test_another_bad_request_names_its_own_field() -> None:
    error = BadRequestError("No.", param="top_k")

    assert told(responses.DIALECT, error)[1]["param"] == "top_k"
    assert told(openai.DIALECT, error)[1]["param"] == "top_k"

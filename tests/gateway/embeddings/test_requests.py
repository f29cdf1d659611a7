"""What embeddings may be asked of, and what is refused by its field."""

import json
from typing import Any

import pytest

from gateway.catalog import CatalogModel
from gateway.chat import Embed
from gateway.dialects.openai import EMBEDDINGS
from gateway.estimate import Estimate, estimate
from gateway.tokenizer import count_prompt, prompt_upper_bound
from kernel.errors import BadRequestError

CONTEXT = 100
MODEL = "text-embedding-3-small"


def check(**fields: Any) -> Any:
    body = json.dumps({"model": MODEL, **fields}).encode()
    return EMBEDDINGS.check_request(
        EMBEDDINGS.read_body(body), max_output_tokens=8_192, context_tokens=CONTEXT
    )


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ("Hello", ("Hello",)),
        (["a", "b"], ("a", "b")),
        ([1, 2, 0], ((1, 2, 0),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
        (["a"] * 2_048, ("a",) * 2_048),
        ("\u0000", ("\u0000",)),
    ],
)
def test_an_input_is_a_text_or_tokens_or_many_of_either(sent: Any, inputs: Any) -> None:
    assert check(input=sent).embed == Embed(inputs)


def test_no_upstream_is_told_of_models_to_fall_back_on() -> None:
    request = check(input="Hello", models=["another"])

    assert request.wire == {"model": MODEL, "input": "Hello"}


def test_form_and_dimensions_are_taken_and_unknown_fields_let_be() -> None:
    request = check(
        input="a", encoding_format="base64", dimensions=256, user="u1", extra={"own": True}
    )

    assert request.embed == Embed(("a",), 256, is_base64=True)
    assert request.user == "u1"
    assert check(input="a", encoding_format=None, dimensions=None).embed == Embed(("a",))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", "invalid_value"),
        ([], "empty_array"),
        ([""], "invalid_value"),
        (["a", ""], "invalid_value"),
        (["a", 1], "invalid_type"),
        ([1, "a"], "invalid_type"),
        ([1, [2]], "invalid_type"),
        ([[1], 2], "invalid_type"),
        ([[1], "a"], "invalid_type"),
        ([[1], []], "empty_array"),
        ([[]], "empty_array"),
        ([-1], "integer_below_min_value"),
        ([[5, -1]], "integer_below_min_value"),
        ([2**31], "integer_above_max_value"),
        ([10**30], "integer_above_max_value"),
        ([1.5], "invalid_type"),
        ([True], "invalid_type"),
        ([None], "invalid_type"),
        ([{}], "invalid_type"),
        ({}, "invalid_type"),
        (5, "invalid_type"),
        (False, "invalid_type"),
        (["a"] * 2_049, "array_above_max_length"),
        ([[1]] * 2_049, "array_above_max_length"),
        ("a " * (CONTEXT + 1), "context_length_exceeded"),
        ("a" * 17 * (CONTEXT + 1), "context_length_exceeded"),
        ([1] * (CONTEXT + 1), "context_length_exceeded"),
    ],
)
def test_a_wrong_input_is_refused_by_its_field(sent: Any, code: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        check(input=sent)

    assert (caught.value.param, caught.value.code) == ("input", code)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"input": "a", "encoding_format": 1}, "encoding_format", "invalid_type"),
        ({"input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"input": "a", "dimensions": 10**9}, "dimensions", "integer_above_max_value"),
        ({"input": "a", "dimensions": 1.0}, "dimensions", "invalid_type"),
        ({"input": "a", "dimensions": True}, "dimensions", "invalid_type"),
        ({"input": "a", "user": 1}, "user", "invalid_type"),
        ({"input": "a", "model": ""}, "model", "missing_required_parameter"),
        ({"input": "a", "model": 1}, "model", "invalid_type"),
    ],
)
def test_every_other_wrong_field_is_named(fields: Any, param: str, code: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        check(**fields)

    assert (caught.value.param, caught.value.code) == (param, code)


def test_every_text_counts_its_tokens_and_token_numbers_count_themselves() -> None:
    texts = check(input=["Hello, world!", "2026"])
    tokens = check(input=[[7, 8, 9], [10]])

    assert (count_prompt(texts), prompt_upper_bound(texts)) == (4 + 2, 13 + 4)
    assert (count_prompt(tokens), prompt_upper_bound(tokens)) == (4, 4)


def test_the_bound_is_that_of_the_input_and_nothing_is_written() -> None:
    model = CatalogModel(MODEL, "tollgate", 0, CONTEXT, 8_192, None, ())

    assert estimate(check(input="Hello"), model) == Estimate(5, 0, 0)

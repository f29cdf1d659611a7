"""Every row of the contract's table of parameters: what is taken, what is refused, and how."""

from typing import Any

import pytest

from kernel.errors import BadRequestError
from tests.gateway.dialects.asking import MAX_OUTPUT, ask, check_body, refusal_of

TOO_SMALL = "integer_below_min_value"
TOO_BIG = "integer_above_max_value"
TOO_LOW = "decimal_below_min_value"
TOO_HIGH = "decimal_above_max_value"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_value"


@pytest.mark.parametrize(
    ("field", "value", "code", "param"),
    [
        ("temperature", -0.1, TOO_LOW, "temperature"),
        ("temperature", 2.1, TOO_HIGH, "temperature"),
        ("temperature", "0.5", TYPE, "temperature"),
        ("temperature", True, TYPE, "temperature"),
        ("temperature", [1], TYPE, "temperature"),
        ("top_p", -0.1, TOO_LOW, "top_p"),
        ("top_p", 1.5, TOO_HIGH, "top_p"),
        ("top_p", "1", TYPE, "top_p"),
        ("top_k", -2, TOO_SMALL, "top_k"),
        ("top_k", 1.5, TYPE, "top_k"),
        ("max_tokens", 0, TOO_SMALL, "max_tokens"),
        ("max_tokens", -1, TOO_SMALL, "max_tokens"),
        ("max_tokens", MAX_OUTPUT + 1, TOO_BIG, "max_tokens"),
        ("max_tokens", 10.0, TYPE, "max_tokens"),
        ("max_tokens", "10", TYPE, "max_tokens"),
        ("max_tokens", False, TYPE, "max_tokens"),
        ("max_tokens", 1e30, TOO_BIG, "max_tokens"),
        ("max_completion_tokens", 0, TOO_SMALL, "max_completion_tokens"),
        ("max_completion_tokens", MAX_OUTPUT + 1, TOO_BIG, "max_completion_tokens"),
        ("stream", "true", TYPE, "stream"),
        ("stream", 1, TYPE, "stream"),
        ("stream_options", {"include_usage": True}, VALUE, "stream_options"),
        ("stream_options", {}, VALUE, "stream_options"),
        ("stream_options", {"include_usage": 1}, TYPE, "stream_options.include_usage"),
        (
            "stream_options",
            {"include_obfuscation": "no"},
            TYPE,
            "stream_options.include_obfuscation",
        ),
        ("stream_options", True, TYPE, "stream_options"),
        ("stop", 5, TYPE, "stop"),
        ("stop", {"a": 1}, TYPE, "stop"),
        ("stop", ["a", 1], TYPE, "stop[1]"),
        ("stop", ["a", "b", "c", "d", "e"], "array_above_max_length", "stop"),
        ("stop", "", VALUE, "stop"),
        ("stop", ["a", ""], VALUE, "stop[1]"),
        ("presence_penalty", -2.1, TOO_LOW, "presence_penalty"),
        ("presence_penalty", 2.1, TOO_HIGH, "presence_penalty"),
        ("presence_penalty", True, TYPE, "presence_penalty"),
        ("frequency_penalty", -3, TOO_LOW, "frequency_penalty"),
        ("frequency_penalty", 3, TOO_HIGH, "frequency_penalty"),
        ("frequency_penalty", "0", TYPE, "frequency_penalty"),
        ("n", 0, TOO_SMALL, "n"),
        ("n", 129, TOO_BIG, "n"),
        ("n", 1.5, TYPE, "n"),
        ("n", True, TYPE, "n"),
        ("seed", "7", TYPE, "seed"),
        ("seed", 1.5, TYPE, "seed"),
        ("seed", 2**63, TOO_BIG, "seed"),
        ("seed", 1e20, TOO_BIG, "seed"),
        ("seed", -1e20, TOO_SMALL, "seed"),
        ("seed", -(2.0**63), TOO_SMALL, "seed"),
        ("parallel_tool_calls", "no", TYPE, "parallel_tool_calls"),
        ("function_call", {"name": "f"}, VALUE, "function_call"),
        ("logprobs", 1, TYPE, "logprobs"),
        ("top_logprobs", 3, VALUE, "top_logprobs"),
        ("top_logprobs", 21, TOO_BIG, "top_logprobs"),
        ("top_logprobs", -1, TOO_SMALL, "top_logprobs"),
        ("logit_bias", [], TYPE, "logit_bias"),
        ("logit_bias", {"50256": 101}, TOO_HIGH, "logit_bias.50256"),
        ("logit_bias", {"50256": -101}, TOO_LOW, "logit_bias.50256"),
        ("logit_bias", {"50256": True}, TYPE, "logit_bias.50256"),
        ("metadata", "x", TYPE, "metadata"),
        ("metadata", {"a": 1}, TYPE, "metadata.a"),
        ("metadata", {str(i): "" for i in range(17)}, VALUE, "metadata"),
        ("metadata", {"a" * 65: ""}, "string_above_max_length", "metadata"),
        ("metadata", {"a": "x" * 513}, "string_above_max_length", "metadata.a"),
        ("user", 7, TYPE, "user"),
        ("safety_identifier", 7, TYPE, "safety_identifier"),
        ("prompt_cache_key", 7, TYPE, "prompt_cache_key"),
        ("prompt_cache_options", "x", TYPE, "prompt_cache_options"),
        ("prompt_cache_retention", 24, TYPE, "prompt_cache_retention"),
        ("service_tier", 1, TYPE, "service_tier"),
        ("store", "yes", TYPE, "store"),
        ("reasoning_effort", "extreme", VALUE, "reasoning_effort"),
        ("reasoning_effort", 3, TYPE, "reasoning_effort"),
        ("verbosity", "loud", VALUE, "verbosity"),
        ("prediction", "x", TYPE, "prediction"),
        ("prediction", {"type": "guess"}, VALUE, "prediction.type"),
        ("modalities", "text", TYPE, "modalities"),
        ("modalities", ["text", "audio"], UNSUPPORTED, "modalities"),
        ("moderation", True, TYPE, "moderation"),
        ("web_search_options", [], TYPE, "web_search_options"),
        ("messages", None, "missing_required_parameter", "messages"),
        ("messages", {}, TYPE, "messages"),
        ("messages", [], "empty_array", "messages"),
        ("model", None, "missing_required_parameter", "model"),
        ("model", "", "missing_required_parameter", "model"),
        ("model", 4, TYPE, "model"),
    ],
)
def test_a_wrong_value_is_refused_with_its_code_and_field(
    field: str, value: Any, code: str, param: str
) -> None:
    assert refusal_of(**{field: value}) == (code, param)


DECIMALS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
INTEGERS = ("top_k", "max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs")


@pytest.mark.parametrize("field", [*DECIMALS, *INTEGERS])
@pytest.mark.parametrize("value", [True, False, "1", "0.5", "", [1], {}])
def test_nothing_but_a_number_is_one(field: str, value: Any) -> None:
    assert refusal_of(**{field: value}) == (TYPE, field)


@pytest.mark.parametrize("field", INTEGERS)
@pytest.mark.parametrize("value", [1.5, 1.0, -0.5])
def test_an_integer_has_no_fraction(field: str, value: float) -> None:
    assert refusal_of(**{field: value}) == (TYPE, field)


@pytest.mark.parametrize("number", ["-9223372036854775809", "9223372036854775808", "1" * 40])
def test_an_integer_beyond_64_bits_is_out_of_range(number: str) -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"x"}],"seed":%s}' % number  # noqa: UP031

    with pytest.raises(BadRequestError) as caught:
        check_body(body.encode())

    expected = TOO_SMALL if number.startswith("-") else TOO_BIG
    assert (caught.value.code, caught.value.param) == (expected, "seed")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0), ("temperature", 2), ("temperature", 0.7), ("top_p", 0), ("top_p", 1),
        ("top_k", -1), ("top_k", 0), ("top_k", 40), ("max_tokens", 1), ("max_tokens", MAX_OUTPUT),
        ("stop", "x"), ("stop", []), ("stop", ["a", "b", "c", "d"]), ("presence_penalty", -2),
        ("frequency_penalty", 2), ("n", 1), ("n", 128), ("seed", -(2**63)), ("seed", 2**63 - 1),
        ("logprobs", False), ("logit_bias", {"1": -100, "2": 100.0}), ("metadata", {"a": "b"}),
        ("user", "u"), ("service_tier", "auto"), ("store", True), ("reasoning_effort", "none"),
        ("reasoning_effort", "max"), ("verbosity", "low"), ("modalities", ["text"]),
        ("prediction", {"type": "content", "content": "x"}), ("tools", []), ("tool_choice", "none"),
        ("parallel_tool_calls", False), ("response_format", {"type": "text"}), ("stream", False),
        ("an_unknown_field", {"a": [1]}), ("audio", None),
    ],
)  # fmt: skip
def test_a_right_value_is_taken(field: str, value: Any) -> None:
    assert ask(**{field: value}).wire[field] == value


@pytest.mark.parametrize(
    "field",
    [
        "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stream",
        "stream_options", "stop", "presence_penalty", "frequency_penalty", "n", "seed", "tools",
        "tool_choice", "parallel_tool_calls", "response_format", "functions", "function_call",
        "logprobs", "top_logprobs", "logit_bias", "metadata", "user", "modalities", "prediction",
    ],
)  # fmt: skip
def test_null_is_not_given(field: str) -> None:
    fields: dict[str, Any] = {field: None}

    request = ask(**fields)

    assert request.messages == ask().messages
    assert request.max_tokens == MAX_OUTPUT
    assert (request.n, request.stop, request.seed, request.stream) == (1, (), None, False)


def test_the_checked_values_are_in_the_request() -> None:
    request = ask(
        stream=True, stream_options={"include_usage": True}, max_completion_tokens=7, n=3,
        stop=["a", "b"], seed=-5, temperature=0.5,
    )  # fmt: skip

    assert (request.model, request.stream, request.include_usage) == ("hacxgpt", True, True)
    assert (request.max_tokens, request.n, request.stop) == (7, 3, ("a", "b"))
    assert (request.seed, request.temperature) == (-5, 0.5)


def test_two_names_for_the_limit_must_agree() -> None:
    assert ask(max_tokens=9, max_completion_tokens=9).max_tokens == 9
    assert refusal_of(max_tokens=9, max_completion_tokens=8) == ("invalid_value", "max_tokens")


def test_one_string_is_one_stop_sequence() -> None:
    assert ask(stop="abc").stop == ("abc",)

"""Bodies before any field: the order of the first checks, hostile input, the context's limit."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.openai import DIALECT
from gateway.dialects.openai.parameters import PARAMETERS
from kernel.errors import BadRequestError
from tests.gateway.dialects.asking import ask, check_body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "model", "models", "messages", "tools", "tool_choice", "response_format", "functions",
        "function_call", *PARAMETERS,
    ]
)  # fmt: skip

# All that is ever said of a body that is wrong.
CODES = {
    "missing_required_parameter", "invalid_type", "invalid_value", "integer_below_min_value",
    "integer_above_max_value", "decimal_below_min_value", "decimal_above_max_value", "empty_array",
    "array_above_max_length", "string_above_max_length", "unsupported_value",
    "context_length_exceeded", "invalid_image_url", "invalid_base64",
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "message", "code", "param"),
    [
        (b"[]", "The body of your request must be a JSON object.", "invalid_type", None),
        (b"{}", "You must specify a model to call", "missing_required_parameter", "model"),
        (
            b'{"messages":[]}',
            "You must specify a model to call",
            "missing_required_parameter",
            "model",
        ),
        (
            b'{"model":"m","messages":[]}',
            "Messages array cannot be empty",
            "empty_array",
            "messages",
        ),
        (
            b'{"model":"m"}',
            "Missing required parameter: 'messages'.",
            "missing_required_parameter",
            "messages",
        ),
    ],
)
def test_the_first_checks_come_in_their_order_and_words(
    body: bytes, message: str, code: str, param: str | None
) -> None:
    with pytest.raises(BadRequestError) as caught:
        DIALECT.read_body(body)

    assert (caught.value.message, caught.value.code, caught.value.param) == (message, code, param)


GOOD = b'{"model":"m","messages":[{"role":"user","content":"x"}]%b}'


NO_JSON_OBJECTS = [
    b"", b" ", b"null", b"7", b'"x"', b"[1]", b"{", b'{"model":"m"', GOOD % b"" + b"x",
    b"\xff\xfe{}", "{}".encode("utf-16"), b"\xef\xbb\xbf{}", b'{"model":"\xff"}', b"NaN",
    GOOD % b',"temperature":NaN', GOOD % b',"temperature":Infinity',
    GOOD % b',"temperature":-Infinity', GOOD % b',"temperature":1e400',
    GOOD % b',"temperature":1.0e400', GOOD % (b',"seed":' + b"9" * 5_000),
    GOOD % b',"user":"\\ud800"', b"[" * 20_000 + b"]" * 20_000,
    GOOD % (b',"x":' + b"[" * 20_000 + b"]" * 20_000),
    GOOD % (b',"x":' + b"[" * 600 + b"]" * 600), GOOD % b",'a':1", GOOD % b',"a":01',
    GOOD % b',"x":1e400', GOOD % (b',"x":-' + b"9" * 5_000),
]  # fmt: skip


@pytest.mark.parametrize("body", NO_JSON_OBJECTS)
def test_what_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        check_body(body)

    assert caught.value.http_status == 400


def test_of_duplicate_keys_the_last_is_checked_and_kept() -> None:
    request = check_body(GOOD % b',"n":500,"n":2')

    assert (request.n, request.wire["n"]) == (2, 2)


def test_a_nul_is_a_character_like_others() -> None:
    assert ask("a\0b").messages[0].text == "a\0b"


def assert_said_in_our_words(error: BadRequestError) -> None:
    assert (error.http_status, error.kind) == (400, "invalid_request_error")
    assert orjson.loads(DIALECT.render_error(error, "req_1"))["error"]["code"] in CODES


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_bad_request(body: bytes) -> None:
    try:
        check_body(body)
    except BadRequestError as error:
        assert_said_in_our_words(error)


@given(FIELDS, JSON, st.booleans())
def test_no_value_of_a_field_raises_anything_but_a_bad_request(
    field: str,
    value: object,
    stream: bool,  # noqa: FBT001 # drawn
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    try:
        check_body(orjson.dumps({**body, field: value}, default=str))
    except BadRequestError as error:
        assert_said_in_our_words(error)
    except TypeError:
        pass  # beyond what the test itself can write


@given(st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]), JSON), JSON)
def test_no_message_raises_anything_but_a_bad_request(
    message: dict[str, object], part: object
) -> None:
    parts = {"role": "user", "content": [{"type": "image_url", "image_url": part}, part]}
    for each in (message, {"role": "assistant", **message}, parts):
        try:
            check_body(orjson.dumps({"model": "m", "messages": [each]}))
        except BadRequestError as error:
            assert_said_in_our_words(error)
        except TypeError:
            pass  # beyond what the test itself can write


def test_a_prompt_beyond_the_context_is_refused_by_its_count() -> None:
    body = GOOD % b""

    with pytest.raises(BadRequestError) as caught:
        check_body(body, context_tokens=8)

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "maximum context length is 8 tokens" in caught.value.message
    assert "resulted in 8 tokens" in caught.value.message


def test_an_endless_prompt_is_refused_uncounted() -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "a" * 200_000}]})

    with pytest.raises(BadRequestError) as caught:
        check_body(body, context_tokens=10_000)

    assert caught.value.code == "context_length_exceeded"
    assert "more than 10000 tokens" in caught.value.message


def test_endless_messages_and_objects_are_refused_soon() -> None:
    message = {"role": "user", "content": ""}
    many = orjson.dumps({"model": "m", "messages": [message] * 2_500})

    with pytest.raises(BadRequestError) as caught:
        check_body(many, context_tokens=10_000)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(BadRequestError, match="over 200000 objects and arrays"):
        check_body(GOOD % (b',"x":[' + b"[]," * 200_000 + b"1]"))


def test_the_context_leaves_the_answer_what_the_prompt_does_not_take() -> None:
    assert check_body(GOOD % b',"max_tokens":50', context_tokens=20).max_tokens == 12
    assert check_body(GOOD % b',"max_tokens":50', context_tokens=200).max_tokens == 50

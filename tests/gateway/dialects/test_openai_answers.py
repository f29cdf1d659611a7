"""Answers byte by byte: a whole one, a stream, a stream that breaks, errors, the list of models."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from accounts.principal import RateLimits
from billing.pricing import Price
from billing.usage import Evidence, Usage
from gateway.catalog import CatalogModel
from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.openai import DIALECT
from gateway.dialects.receipts import Receipt
from kernel.errors import (
    BadRequestError,
    NoCreditError,
    TollgateError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
)
from kernel.money import Nanos
from tests.gateway.dialects.asking import ask

ANSWER = Answer("chatcmpl-1", "hacxgpt", 1710000000, "fp_1")
USAGE = Usage(input=7, cached_input=3, output=6, reasoning=2, request=1)
RECEIPT = Receipt(USAGE, Nanos(21_500), Evidence.PROVIDER)
HELLO: Sequence[StreamEvent] = (
    TextDelta(0, "Hel", 1),
    TextDelta(0, 'lo "é"\n', 1),
    ChoiceFinished(0, StopReason.END),
)
CALLS: Sequence[StreamEvent] = (
    ToolCallStarted(0, 0, "call_a", "get_weather", 3),
    ToolCallDelta(0, 0, '{"location":', 1),
    ToolCallDelta(0, 0, '"Oslo"}', 1),
    ToolCallStarted(0, 1, "call_b", "f", 1),
    ToolCallDelta(0, 1, "{}", 1),
    ChoiceFinished(0, StopReason.TOOL_CALLS),
)
USAGE_JSON = (
    '{"prompt_tokens":10,"completion_tokens":8,"total_tokens":18,'
    '"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":0,'
    '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0},'
    '"cost":0.0000215,"x_tollgate":{"evidence":"provider"}}'
)
CHUNK = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1710000000,'
    '"model":"hacxgpt","system_fingerprint":"fp_1","choices":['
)
BETWEEN = '"logprobs":null,"finish_reason":null}]'


def streamed(request: ChatRequest, events: Sequence[StreamEvent]) -> str:
    stream = DIALECT.open_stream(request, ANSWER)
    return (stream.render(events) + stream.finish(RECEIPT)).decode()


def whole(request: ChatRequest, events: Sequence[StreamEvent]) -> Any:
    return orjson.loads(DIALECT.render_answer(request, ANSWER, events, RECEIPT))


def deltas(text: str, choice: int = 0) -> list[Any]:
    lines = [line for line in text.split("\n\n") if line.startswith("data: {")]
    choices = [choices[0] for line in lines if (choices := orjson.loads(line[6:])["choices"])]
    return [each["delta"] for each in choices if each["index"] == choice]


def test_a_whole_answer_is_this_byte_by_byte() -> None:
    assert DIALECT.render_answer(ask(), ANSWER, HELLO, RECEIPT).decode() == (
        '{"id":"chatcmpl-1","object":"chat.completion","created":1710000000,"model":"hacxgpt",'
        '"system_fingerprint":"fp_1","choices":[{"index":0,"message":{"role":"assistant",'
        '"content":"Hello \\"é\\"\\n","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
        f'"usage":{USAGE_JSON}}}'
    )


def test_a_stream_is_this_byte_by_byte() -> None:
    assert streamed(ask(stream=True), HELLO) == (
        CHUNK + '{"index":0,"delta":{"role":"assistant","content":""},' + BETWEEN + "}\n\n"
        + CHUNK + '{"index":0,"delta":{"content":"Hel"},' + BETWEEN + "}\n\n"
        + CHUNK + '{"index":0,"delta":{"content":"lo \\"é\\"\\n"},' + BETWEEN + "}\n\n"
        + CHUNK + '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
        + "data: [DONE]\n\n"
    )  # fmt: skip


def test_a_stream_with_usage_is_this_byte_by_byte() -> None:
    request = ask(stream=True, stream_options={"include_usage": True})
    null = ',"usage":null}\n\n'

    assert streamed(request, HELLO[1:]) == (
        CHUNK + '{"index":0,"delta":{"role":"assistant","content":""},' + BETWEEN + null
        + CHUNK + '{"index":0,"delta":{"content":"lo \\"é\\"\\n"},' + BETWEEN + null
        + CHUNK + '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]' + null
        + CHUNK + '],"usage":' + USAGE_JSON + "}\n\n"
        + "data: [DONE]\n\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "fault", [UpstreamError, UpstreamTimeoutError, UnavailableError, TollgateError]
)
def test_a_stream_that_breaks_ends_with_its_error_and_done(fault: type[TollgateError]) -> None:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)

    assert stream.fail(fault("It broke off.")) == (
        b'data: {"error":{"message":"It broke off.","type":"server_error","param":null,'
        b'"code":"upstream_error"}}\n\ndata: [DONE]\n\n'
    )


def test_a_streamed_call_names_itself_once_and_comes_in_pieces() -> None:
    assert deltas(streamed(ask(stream=True), CALLS)) == [
        {"role": "assistant", "content": None},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"location":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "call_b",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]


def test_a_whole_answer_with_calls_has_no_content() -> None:
    choice = whole(ask(), CALLS)["choices"][0]

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {
                "id": "call_a",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"location":"Oslo"}'},
            },
            {"id": "call_b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ],
    }


def test_choices_begin_in_their_order_and_each_has_one_role() -> None:
    events: Sequence[StreamEvent] = (
        TextDelta(2, "c", 1),
        TextDelta(0, "a", 1),
        *(ChoiceFinished(choice, StopReason.LENGTH) for choice in (2, 0, 1)),
    )
    text = streamed(ask(stream=True, n=3), events)

    starts = [text.index(f'{{"index":{choice},"delta":{{"role"') for choice in range(3)]
    assert starts == sorted(starts)
    assert text.count('"role"') == 3
    assert deltas(text, 1) == [{"role": "assistant", "content": ""}, {}]
    contents = [c["message"]["content"] for c in whole(ask(n=3), events)["choices"]]
    assert contents == ["a", "", "c"]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (StopReason.END, "stop"),
        (StopReason.STOP_SEQUENCE, "stop"),
        (StopReason.LENGTH, "length"),
        (StopReason.TOOL_CALLS, "tool_calls"),
        (StopReason.CONTENT_FILTER, "content_filter"),
    ],
)
def test_every_reason_has_its_word(reason: StopReason, word: str) -> None:
    events = (ChoiceFinished(0, reason),)

    assert whole(ask(), events)["choices"][0]["finish_reason"] == word
    assert f'"finish_reason":"{word}"' in streamed(ask(stream=True), events)


def test_a_lone_surrogate_never_leaves() -> None:
    events = (TextDelta(0, "a\ud800b", 1), ChoiceFinished(0, StopReason.END))

    assert whole(ask(), events)["choices"][0]["message"]["content"] == "a?b"
    assert deltas(streamed(ask(stream=True), events))[1] == {"content": "a?b"}
    error = BadRequestError("no \ud800", param="\ud800")
    assert orjson.loads(DIALECT.render_error(error, "req_1"))["error"]["param"] == "?"


def test_an_error_has_all_four_keys() -> None:
    assert DIALECT.render_error(NoCreditError("No credit is left."), "req_1") == (
        b'{"error":{"message":"No credit is left.","type":"insufficient_quota","param":null,'
        b'"code":"credit_balance_exhausted"}}'
    )


def test_the_list_of_models_is_this_byte_by_byte() -> None:
    price = Price(1, Usage(input=1_250_000_000, cached_input=1, output=10_000_000_000))
    limits = RateLimits(rpm=60)
    model = CatalogModel("hacxgpt", "tollgate", 1, 128_000, 8_192, price, (), limits)

    assert DIALECT.render_models([model], b"limit=1") == (
        b'{"object":"list","data":[{"id":"hacxgpt","object":"model","created":1,'
        b'"owned_by":"tollgate","context_length":128000,"top_provider":{"context_length":128000,'
        b'"max_completion_tokens":8192},"pricing":{"prompt":"0.00000125","completion":"0.00001",'
        b'"input_cache_read":"0.000000000000001","input_cache_write":"0","internal_reasoning":"0",'
        b'"audio":"0","image":"0","request":"0"},"x_tollgate":{"usd_per_million":{"input":"1.25",'
        b'"output":"10.00","cached_input":"0.000000001"},"tiers":{},"limits":{"rpm":60,"rpd":null,'
        b'"tpm":null,"concurrency":null}}}]}'
    )


THINKING: Sequence[StreamEvent] = (
    ThinkingDelta(0, "Hm, ", 2),
    ThinkingDelta(0, "yes.", 2),
    ThinkingEnded(0, "signed"),
    TextDelta(0, "Yes.", 2),
    ChoiceFinished(0, StopReason.END),
)


def test_thinking_is_the_messages_reasoning_content_without_its_signature() -> None:
    assert whole(ask(), THINKING)["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Yes.",
        "refusal": None,
        "reasoning_content": "Hm, yes.",
    }


def test_thinking_is_streamed_after_the_role_and_before_the_text() -> None:
    assert deltas(streamed(ask(stream=True), THINKING)) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm, "},
        {"reasoning_content": "yes."},
        {"content": "Yes."},
        {},
    ]

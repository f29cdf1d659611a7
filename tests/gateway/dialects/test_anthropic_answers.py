"""Answers byte by byte: a whole one, a stream, a stream that breaks, errors, the list of models."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from billing.pricing import Price, Tier
from billing.usage import NO_USAGE, Evidence, Usage
from gateway.catalog import CatalogModel
from gateway.chat import (
    Answer,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.anthropic import DIALECT
from gateway.dialects.anthropic.usage import parse_usage
from gateway.dialects.receipts import Receipt
from kernel import errors
from kernel.money import Nanos
from tests.gateway.dialects.anthropic_asking import ask

ANSWER = Answer("msg_1", "hacxgpt", 1710000000, "fp_1", "req_1", 10)
USAGE = Usage(input=7, cached_input=2, cache_write=1, output=6, reasoning=2, request=1)
PLAIN = Usage(input=10, output=8, request=1)
HELLO: Sequence[StreamEvent] = (
    TextDelta(0, "Hel", 1),
    TextDelta(0, "", 0),
    TextDelta(0, 'lo "é"\n', 1),
    ChoiceFinished(0, StopReason.END),
)
MIXED: Sequence[StreamEvent] = (
    ThinkingDelta(0, "Hm, ", 1),
    ThinkingDelta(0, "yes.", 1),
    ThinkingEnded(0, "signed"),
    ThinkingEnded(0, sealed="sealed"),
    TextDelta(0, "Both:", 2),
    ToolCallStarted(0, 0, "toolu_a", "get_weather", 3),
    ToolCallDelta(0, 0, '{"location":', 1),
    ToolCallDelta(0, 0, '"Oslo"}', 1),
    ToolCallStarted(0, 1, "toolu_b", "f", 1),
    ChoiceFinished(0, StopReason.TOOL_CALLS),
)
START = (
    "event: message_start\n"
    'data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    '"model":"hacxgpt","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
    '{"input_tokens":10,"output_tokens":1,"cache_creation_input_tokens":0,'
    '"cache_read_input_tokens":0,"service_tier":"standard"}}}\n\n'
)
PING = 'event: ping\ndata: {"type":"ping"}\n\n'
STOP = 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
FIGURES = (
    '{"input_tokens":10,"output_tokens":8,"cache_creation_input_tokens":0,'
    '"cache_read_input_tokens":0,"cost":0.0000215,"x_tollgate":{"evidence":"provider"}}'
)


def framed(kind: str, rest: str) -> str:
    return f'event: {kind}\ndata: {{"type":"{kind}",{rest}}}\n\n'


def begun(index: int, block: str) -> str:
    return framed("content_block_start", f'"index":{index},"content_block":{block}')


def delta(index: int, body: str) -> str:
    return framed("content_block_delta", f'"index":{index},"delta":{body}')


def stopped(index: int) -> str:
    return framed("content_block_stop", f'"index":{index}')


def ended(reason: str, usage: str, sequence: str = "null") -> str:
    reason = f'"delta":{{"stop_reason":"{reason}","stop_sequence":{sequence}}},"usage":{usage}'
    return framed("message_delta", reason)


def bill(usage: Usage) -> Receipt:
    return Receipt(usage, Nanos(21_500), Evidence.PROVIDER)


def streamed(events: Sequence[StreamEvent], usage: Usage = PLAIN) -> str:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)
    said = [stream.render([event]) for event in events]
    return (b"".join(said) + stream.finish(bill(usage))).decode()


def whole(events: Sequence[StreamEvent], usage: Usage = PLAIN) -> Any:
    return orjson.loads(DIALECT.render_answer(ask(), ANSWER, events, bill(usage)))


def test_a_whole_answer_is_this_byte_by_byte() -> None:
    assert DIALECT.render_answer(ask(), ANSWER, HELLO, bill(PLAIN)).decode() == (
        '{"id":"msg_1","type":"message","role":"assistant","model":"hacxgpt",'
        '"content":[{"type":"text","text":"Hello \\"é\\"\\n"}],"stop_reason":"end_turn",'
        '"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":8,'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"service_tier":"standard",'
        '"cost":0.0000215,"x_tollgate":{"evidence":"provider"}}}'
    )


def test_a_stream_is_this_byte_by_byte() -> None:
    assert streamed(HELLO) == (
        START
        + begun(0, '{"type":"text","text":""}')
        + PING
        + delta(0, '{"type":"text_delta","text":"Hel"}')
        + delta(0, '{"type":"text_delta","text":"lo \\"é\\"\\n"}')
        + stopped(0)
        + ended("end_turn", FIGURES)
        + STOP
    )


def test_blocks_follow_one_another_byte_by_byte() -> None:
    assert streamed(MIXED, USAGE) == (
        START
        + begun(0, '{"type":"thinking","thinking":"","signature":""}')
        + PING
        + delta(0, '{"type":"thinking_delta","thinking":"Hm, "}')
        + delta(0, '{"type":"thinking_delta","thinking":"yes."}')
        + delta(0, '{"type":"signature_delta","signature":"signed"}')
        + stopped(0)
        + begun(1, '{"type":"redacted_thinking","data":"sealed"}')
        + stopped(1)
        + begun(2, '{"type":"text","text":""}')
        + delta(2, '{"type":"text_delta","text":"Both:"}')
        + stopped(2)
        + begun(3, '{"type":"tool_use","id":"toolu_a","name":"get_weather","input":{}}')
        + delta(3, '{"type":"input_json_delta","partial_json":"{\\"location\\":"}')
        + delta(3, '{"type":"input_json_delta","partial_json":"\\"Oslo\\"}"}')
        + stopped(3)
        + begun(4, '{"type":"tool_use","id":"toolu_b","name":"f","input":{}}')
        + stopped(4)
        + ended(
            "tool_use",
            '{"input_tokens":7,"output_tokens":8,"cache_creation_input_tokens":1,'
            '"cache_read_input_tokens":2,"output_tokens_details":{"thinking_tokens":2},'
            '"cost":0.0000215,"x_tollgate":{"evidence":"provider"}}',
        )
        + STOP
    )


def test_the_same_events_make_the_same_blocks_in_a_whole_answer() -> None:
    answer = whole(MIXED, USAGE)

    assert answer["content"] == [
        {"type": "thinking", "thinking": "Hm, yes.", "signature": "signed"},
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "text", "text": "Both:"},
        {"type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": {"location": "Oslo"}},
        {"type": "tool_use", "id": "toolu_b", "name": "f", "input": {}},
    ]
    assert answer["stop_reason"] == "tool_use"
    assert answer["usage"] == {
        "input_tokens": 7,
        "output_tokens": 8,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 2,
        "output_tokens_details": {"thinking_tokens": 2},
        "service_tier": "standard",
        "cost": 0.0000215,
        "x_tollgate": {"evidence": "provider"},
    }
    assert parse_usage(answer["usage"]) == USAGE


def test_an_answer_without_a_word_has_no_block() -> None:
    silent = (ChoiceFinished(0, StopReason.LENGTH),)

    assert whole(silent)["content"] == []
    assert streamed(silent) == START + ended("max_tokens", FIGURES) + STOP


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (StopReason.END, "end_turn"),
        (StopReason.LENGTH, "max_tokens"),
        (StopReason.STOP_SEQUENCE, "stop_sequence"),
        (StopReason.TOOL_CALLS, "tool_use"),
        (StopReason.CONTENT_FILTER, "refusal"),
        (StopReason.BUDGET, "max_tokens"),
    ],
)
def test_each_reason_has_its_word(reason: StopReason, word: str) -> None:
    assert whole((TextDelta(0, "a", 1), ChoiceFinished(0, reason)))["stop_reason"] == word


def test_the_stop_sequence_is_named() -> None:
    events = (TextDelta(0, "a", 1), ChoiceFinished(0, StopReason.STOP_SEQUENCE, "\n\nEND"))

    assert whole(events)["stop_sequence"] == "\n\nEND"
    assert ended("stop_sequence", FIGURES, '"\\n\\nEND"') in streamed(events)


def test_a_call_that_the_limit_cut_short_has_no_input() -> None:
    cut = (
        ToolCallStarted(0, 0, "toolu_a", "f", 1),
        ToolCallDelta(0, 0, '{"location":"Os', 1),
        ChoiceFinished(0, StopReason.LENGTH),
    )

    assert whole(cut)["content"] == [
        {"type": "tool_use", "id": "toolu_a", "name": "f", "input": {}}
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.UpstreamError("It broke off."), b"api_error"),
        (errors.UpstreamTimeoutError("It broke off."), b"api_error"),
        (errors.UnavailableError("It broke off."), b"overloaded_error"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error_and_nothing_more(
    error: errors.TollgateError, kind: bytes
) -> None:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)

    assert stream.fail(error) == (
        b'event: error\ndata: {"type":"error","error":{"type":"%b",'
        b'"message":"It broke off."},"request_id":"req_1"}\n\n' % kind
    )


def test_a_stream_without_money_for_the_rest_ends_cleanly_and_says_so() -> None:
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)

    said = stream.render(HELLO[:1]) + stream.cut_off() + stream.finish(bill(PLAIN))

    end = (
        '"delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":'
        + FIGURES
        + ',"x_tollgate":{"code":"budget_exhausted"}'
    )
    assert said.decode().endswith(stopped(0) + framed("message_delta", end) + STOP)


def test_a_lone_surrogate_never_leaves() -> None:
    events = (TextDelta(0, "a\ud800b", 1), ChoiceFinished(0, StopReason.END))

    assert whole(events)["content"] == [{"type": "text", "text": "a?b"}]
    assert '"a?b"' in streamed(events)
    error = errors.BadRequestError("no \ud800", param="\ud800")
    assert orjson.loads(DIALECT.render_error(error, "r"))["error"]["message"] == "?: no ?"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.BadRequestError("x"), 400, "invalid_request_error"),
        (errors.UnauthenticatedError("x"), 401, "authentication_error"),
        (errors.NoCreditError("x"), 402, "billing_error"),
        (errors.ForbiddenError("x"), 403, "permission_error"),
        (errors.NotFoundError("x"), 404, "not_found_error"),
        (errors.MethodNotAllowedError("x"), 405, "invalid_request_error"),
        (errors.SlowBodyError("x"), 408, "timeout_error"),
        (errors.ConflictError("x"), 409, "conflict_error"),
        (errors.TooLargeError("x"), 413, "request_too_large"),
        (errors.UnsupportedMediaError("x"), 415, "invalid_request_error"),
        (errors.IdempotencyReusedError("x"), 422, "invalid_request_error"),
        (errors.RateLimitError("x"), 429, "rate_limit_error"),
        (errors.TollgateError("x"), 500, "api_error"),
        (errors.UpstreamError("x"), 502, "api_error"),
        (errors.UnavailableError("x"), 529, "overloaded_error"),
        (errors.UpstreamTimeoutError("x"), 504, "timeout_error"),
    ],
)
def test_each_error_has_its_status_and_type(
    error: errors.TollgateError, status: int, kind: str
) -> None:
    assert DIALECT.error_status(error) == status
    assert DIALECT.render_error(error, "req_1") == (
        b'{"type":"error","error":{"type":"%b","message":"x"},"request_id":"req_1"}' % kind.encode()
    )


def test_a_used_up_budget_says_so_in_the_details() -> None:
    error = errors.BudgetError("The budget of this project is used up.")

    assert DIALECT.error_status(error) == 429
    assert orjson.loads(DIALECT.render_error(error, "req_1"))["error"] == {
        "type": "rate_limit_error",
        "message": "The budget of this project is used up.",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }


TIERED = Price(1, Usage(input=1_000_000_000), {"input": (Tier(200_000, 2_500_000_000),)})
MODELS = [CatalogModel(name, "tollgate", 0, 128_000, 8_192, TIERED, ()) for name in "abcde"]


def listed(query: bytes) -> Any:
    page = orjson.loads(DIALECT.render_models(MODELS, query))
    return "".join(model["id"] for model in page["data"]), page["has_more"]


def test_the_list_of_models_is_this_byte_by_byte() -> None:
    assert DIALECT.render_models(MODELS[:1], b"") == (
        b'{"data":[{"type":"model","id":"a","display_name":"a",'
        b'"created_at":"1970-01-01T00:00:00Z","lifecycle":"active","max_input_tokens":128000,'
        b'"max_tokens":8192,"x_tollgate":{"usd_per_million":{"input":"1.00","output":"0.00"},'
        b'"tiers":{"input":[{"above":200000,"usd_per_million":"2.50"}]},"limits":{"rpm":null,'
        b'"rpd":null,"tpm":null,"concurrency":null}}}],"has_more":false,"first_id":"a","last_id":"a"}'
    )
    assert DIALECT.render_models([], b"") == (
        b'{"data":[],"has_more":false,"first_id":null,"last_id":null}'
    )


@pytest.mark.parametrize(
    ("query", "page"),
    [
        (b"", ("abcde", False)),
        (b"limit=2", ("ab", True)),
        (b"limit=2&after_id=b", ("cd", True)),
        (b"limit=2&after_id=d", ("e", False)),
        (b"limit=5&after_id=e", ("", False)),
        (b"limit=2&before_id=d", ("bc", True)),
        (b"limit=3&before_id=d", ("abc", False)),
        (b"limit=3&before_id=a", ("", False)),
        (b"limit=1000&beta=true", ("abcde", False)),
    ],
)
def test_models_come_by_pages(query: bytes, page: tuple[str, bool]) -> None:
    assert listed(query) == page


@pytest.mark.parametrize(
    "query", [b"limit=0", b"limit=1001", b"limit=x", b"limit=", b"limit=-1", b"after_id=z"]
)
def test_a_page_that_does_not_exist_is_refused(query: bytes) -> None:
    with pytest.raises(errors.BadRequestError):
        DIALECT.render_models(MODELS, query)


@pytest.mark.parametrize("figures", [None, [], {}])
def test_no_figures_are_none(figures: Any) -> None:
    assert parse_usage(figures) is None


@pytest.mark.parametrize(
    "figures",
    [
        {"output_tokens": 1},
        {"input_tokens": float("nan"), "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": float("nan")},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": True},
        {"input_tokens": 1.5, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 10**15},
        {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": -1},
        {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": "1"},
        {"input_tokens": 1, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 2}},
    ],
)
def test_figures_that_cannot_be_true_are_no_usage(figures: Any) -> None:
    assert parse_usage(figures) == NO_USAGE

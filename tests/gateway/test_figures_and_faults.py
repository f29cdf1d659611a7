"""In all pairs of dialects: wrong figures end no answer, and wrong frames cost no more."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from billing.holds import Outcome
from billing.models import UsageEvent
from billing.usage import Usage
from gateway.offers import create_model, create_provider
from tests.books import assert_proven
from tests.calls import HELLO, frames, post, text_of, wait_for
from tests.fakes.hostile import STREAM, HostileUpstream
from tests.gateway.translation.transcripts import (
    DONE,
    anthropic_block,
    anthropic_end,
    anthropic_frame,
    anthropic_start,
    openai_frame,
)
from tests.stage import House, Stage, open_house

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}
WORDS = 10
ROLE = openai_frame({"role": "assistant", "content": ""})
WORD = openai_frame({"content": " word"})
TEXT = {"type": "text", "text": ""}
DELTA = {"type": "text_delta", "text": " word"}
SECRET = {"message": "secret of the upstream", "type": "server_error"}
# text costs 1,000 and 2,000 nanos a token; what is written to a cache 5,000
PRICE = Usage(
    input=1_000_000_000,
    cached_input=1_000_000_000,
    cache_write=5_000_000_000,
    output=2_000_000_000,
    reasoning=2_000_000_000,
)


def openai_stream(usage: bytes) -> bytes:
    last = openai_frame(None).replace(b'"choices":[]', b'"choices":[],"usage":' + usage)
    return ROLE + WORD * WORDS + openai_frame({}, "stop") + last + DONE


def openai_whole(usage: bytes) -> bytes:
    message = {"role": "assistant", "content": " word" * WORDS}
    body = {"id": "up", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return json.dumps(body).encode()[:-1] + b',"usage":%b}' % usage


def anthropic_stream(usage: bytes) -> bytes:
    end = anthropic_end("end_turn", output_tokens=0).replace(b'{"output_tokens":0}', usage)
    start = anthropic_start(input_tokens=9, output_tokens=1)
    return start + anthropic_block(0, TEXT, *[DELTA] * WORDS) + end


def anthropic_whole(usage: bytes) -> bytes:
    content = [{"type": "text", "text": " word" * WORDS}]
    body = {"id": "up", "type": "message", "content": content, "stop_reason": "end_turn"}
    return json.dumps(body).encode()[:-1] + b',"usage":%b}' % usage


WRITTEN = (
    b'{"prompt_tokens":9,"completion_tokens":10,"prompt_tokens_details":'
    b'{"cached_tokens":2,"cache_write_tokens":4}}'
)
WRITTEN_ANTHROPIC = (
    b'{"input_tokens":3,"cache_read_input_tokens":2,"cache_creation_input_tokens":4,'
    b'"output_tokens":10}'
)
REPORTS: Mapping[str, tuple[bytes, bytes]] = {
    "nan": (
        b'{"prompt_tokens":9,"completion_tokens":NaN}',
        b'{"input_tokens":9,"output_tokens":NaN}',
    ),
    "infinite": (
        b'{"prompt_tokens":9,"completion_tokens":Infinity}',
        b'{"input_tokens":9,"output_tokens":Infinity}',
    ),
    "tenfold": (
        b'{"prompt_tokens":9,"completion_tokens":100}',
        b'{"input_tokens":9,"output_tokens":100}',
    ),
    "written": (WRITTEN, WRITTEN_ANTHROPIC),
}
BEGUN = {
    "openai": ROLE + WORD * WORDS,
    "anthropic": anthropic_start(input_tokens=9, output_tokens=1)
    + anthropic_frame("content_block_start", index=0, content_block=TEXT)
    + anthropic_frame("content_block_delta", index=0, delta=DELTA) * WORDS,
}
FAULTS = {
    "openai": {
        "error-behind-an-id": openai_frame(None, error=SECRET),
        "error-by-name": b"event: error\ndata: %b\n\n" % json.dumps({"error": SECRET}).encode(),
        "half-a-json": b'data: {"id":"secret","choices":[{"index":0,"delta":{"content":"se\n\n',
        "bytes": WORD.replace(b" word", b"secret \xff\xfe"),
        "clean-end": b"",
    },
    "anthropic": {
        "error-behind-an-id": anthropic_frame("error", id="x", error=SECRET),
        "error-by-name": b"event: error\ndata: %b\n\n" % json.dumps({"error": SECRET}).encode(),
        "half-a-json": b'event: content_block_delta\ndata: {"type":"secret\n\n',
        "bytes": anthropic_frame("content_block_delta", index=0, delta=DELTA).replace(
            b" word", b"secret \xff\xfe"
        ),
        "clean-end": b"",
    },
}


def answers() -> dict[str, bytes]:
    made = {}
    for name, (of_openai, of_anthropic) in REPORTS.items():
        made[f"openai-{name}"] = openai_stream(of_openai)
        made[f"openai-{name}-whole"] = openai_whole(of_openai)
        made[f"anthropic-{name}"] = anthropic_stream(of_anthropic)
        made[f"anthropic-{name}-whole"] = anthropic_whole(of_anthropic)
    for kind, faults in FAULTS.items():
        for name, fault in faults.items():
            made[f"{kind}-{name}"] = BEGUN[kind] + fault + (DONE if fault else b"")
    return made


def say(body: bytes) -> Iterator[bytes]:
    yield STREAM + b"connection: close\r\n\r\n" + body


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    hostile = HostileUpstream({name: partial(say, body) for name, body in answers().items()})

    def prepare() -> None:
        for kind in PATHS:
            create_provider(kind, kind=kind, base_url=hostile.url, credential=None, actor="test")
        for name in answers():
            kind = name.partition("-")[0]
            create_model(name, provider=kind, upstream_model=name, price=PRICE, actor="test")

    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=prepare) as opened:
        yield opened
    hostile.close()


def ask(stage: Stage, caller: str, model: str, *, stream: bool) -> Any:
    body: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": 1_000}
    if stream:
        body["stream"] = True
    if stream and caller == "openai":
        body["stream_options"] = {"include_usage": True}
    return post(stage.api.url, stage.acme.key_text, body, path=PATHS[caller])


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(frame.partition("data: ")[2]) for frame in text.split("\n\n") if frame]


def said(answer: Any, caller: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Return the text of an answer and its usage object."""
    if not stream:
        body = answer.json()
        if caller == "openai":
            return body["choices"][0]["message"]["content"], body["usage"]
        return body["content"][0]["text"], body["usage"]
    if caller == "openai":
        chunks = frames(answer.text)
        return text_of(chunks), chunks[-2]["usage"]
    parts = events(answer.text)
    text = "".join(part.get("delta", {}).get("text", "") for part in parts)
    return text, parts[-2]["usage"]


def usage_of(stage: Stage) -> UsageEvent:
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    event: UsageEvent = wait_for(rows.first, what="the usage row")
    return event


def model_for(upstream: str, name: str, caller: str, *, stream: bool) -> str:
    """Between dialects the upstream is always asked for a stream."""
    is_whole = not stream and upstream == caller
    return f"{upstream}-{name}" + "-whole" * is_whole


PAIRS = pytest.mark.parametrize("caller", PATHS)
UPSTREAMS = pytest.mark.parametrize("upstream", PATHS)
FORMS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@PAIRS
@UPSTREAMS
@FORMS
@pytest.mark.parametrize("report", ["nan", "infinite", "tenfold"])
def test_figures_beyond_reason_end_no_answer_and_what_was_relayed_is_charged(
    stage: Stage, caller: str, upstream: str, report: str, *, stream: bool
) -> None:
    model = model_for(upstream, report, caller, stream=stream)

    answer = ask(stage, caller, model, stream=stream)

    assert answer.status_code == 200
    text, shown = said(answer, caller, stream=stream)
    assert text == " word" * WORDS
    assert shown["x_tollgate"] == {"evidence": "counted"}
    usage = usage_of(stage)
    assert (usage.evidence, usage.outcome) == ("counted", Outcome.COMPLETED)
    assert (usage.input, usage.output, usage.reasoning) == (8, WORDS, 0)
    assert usage.amount_nanos == 8 * 1_000 + WORDS * 2_000
    assert_proven(stage.stores.database_url, stage.journals)


@PAIRS
@UPSTREAMS
@FORMS
def test_what_was_written_to_a_cache_is_charged_at_its_own_price_and_shown(
    stage: Stage, caller: str, upstream: str, *, stream: bool
) -> None:
    model = model_for(upstream, "written", caller, stream=stream)

    answer = ask(stage, caller, model, stream=stream)

    _, shown = said(answer, caller, stream=stream)
    if caller == "openai":
        assert shown["prompt_tokens"] == 9
        assert shown["prompt_tokens_details"]["cache_write_tokens"] == 4
    else:
        assert (shown["input_tokens"], shown["cache_creation_input_tokens"]) == (3, 4)
    usage = usage_of(stage)
    assert (usage.input, usage.cached_input, usage.cache_write, usage.output) == (3, 2, 4, WORDS)
    assert usage.amount_nanos == 5 * 1_000 + 4 * 5_000 + WORDS * 2_000
    assert usage.evidence == "provider"
    assert_proven(stage.stores.database_url, stage.journals)


@PAIRS
@pytest.mark.parametrize(
    ("upstream", "fault"), [(kind, fault) for kind, faults in FAULTS.items() for fault in faults]
)
def test_a_broken_or_failed_stream_ends_with_our_error_and_costs_what_was_relayed(
    stage: Stage, caller: str, upstream: str, fault: str
) -> None:
    answer = ask(stage, caller, f"{upstream}-{fault}", stream=True)

    assert answer.status_code == 200
    assert "secret" not in answer.text
    if caller == "openai":
        *chunks, error, done = frames(answer.text)
        assert (text_of(chunks), done) == (" word" * WORDS, "[DONE]")
        assert (error["error"]["type"], error["error"]["code"]) == (
            "server_error",
            "upstream_error",
        )
    else:
        *parts, error = events(answer.text)
        assert sum(part["type"] == "content_block_delta" for part in parts) == WORDS
        assert (error["type"], error["error"]["type"]) == ("error", "api_error")
        assert "message_stop" not in answer.text
    usage = usage_of(stage)
    assert (usage.outcome, usage.evidence, usage.output) == (Outcome.TRUNCATED, "counted", WORDS)
    assert usage.amount_nanos == 8 * 1_000 + WORDS * 2_000
    assert_proven(stage.stores.database_url, stage.journals)

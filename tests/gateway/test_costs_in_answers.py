"""What an answer says it cost is what was settled, for every way an answer goes out."""

import asyncio
import json
from decimal import Decimal
from typing import Any, cast

import pytest
import requests
from openai import OpenAI

from billing.holds import Extension
from billing.models import UsageEvent
from billing.pricing import Price
from billing.usage import Usage
from billing.writer import Writer
from gateway.tranches import Tranches
from kernel.money import NANOS_PER_DOLLAR
from tests.books import assert_proven
from tests.calls import HELLO, chat_body, frames, post, wait_for
from tests.factories import make_tenant
from tests.stage import Stage

WITH_USAGE: Any = {"stream": True, "stream_options": {"include_usage": True}}


def client(stage: Stage) -> OpenAI:
    return OpenAI(
        api_key=stage.acme.key_text, base_url=f"{stage.api.url}/v1", max_retries=0, timeout=30
    )


def last_of(answer: requests.Response) -> Any:
    """Return a whole answer, or the usage chunk of a streamed one."""
    is_stream = answer.headers["content-type"].startswith("text/event-stream")
    return frames(answer.text)[-2] if is_stream else answer.json()


def settled(stage: Stage, completion_id: str) -> UsageEvent:
    request_id = "req_" + completion_id.removeprefix("chatcmpl-")
    event: UsageEvent = wait_for(UsageEvent.objects.filter(request_id=request_id).first)
    return event


def generation(stage: Stage, completion_id: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(
        stage.api.url + "/v1/generation",
        params={"id": completion_id},
        headers={"authorization": f"Bearer {stage.acme.key_text}"},
        timeout=30,
    ).json()
    return found


def assert_settled(stage: Stage, completion_id: str, usage: Any, evidence: str) -> None:
    """The cost is the settled amount, in the answer, in the books and for who asks later."""
    event = settled(stage, completion_id)
    cost = Decimal(repr(usage["cost"]))
    assert event.amount_nanos > 0
    assert cost * NANOS_PER_DOLLAR == event.amount_nanos
    assert cost == Decimal(generation(stage, completion_id)["cost"])
    assert usage["x_tollgate"] == {"evidence": evidence}
    assert event.evidence == evidence


@pytest.mark.parametrize("model", ["hacxgpt", "mock"])
def test_the_official_client_reads_what_a_call_cost(stage: Stage, model: str) -> None:
    asked: Any = {"model": model, "messages": HELLO}
    whole = client(stage).chat.completions.create(**asked)
    *_, last = client(stage).chat.completions.create(**asked, **WITH_USAGE)

    for answer in (whole, last):
        assert answer.usage is not None
        assert answer.usage.model_extra is not None
        assert_settled(stage, answer.id, answer.usage.model_extra, "provider")
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_cost_is_computed_by_hand_from_price_and_tokens(stage: Stage) -> None:
    answer = post(stage.api.url, stage.acme.key_text, chat_body(mock={"chunks": 5}))

    # 9 tokens at $1 and 5 at $2 a million
    assert b'"cost":0.000019,' in answer.content
    assert settled(stage, answer.json()["id"]).amount_nanos == 19_000


@pytest.mark.parametrize("form", [{}, WITH_USAGE], ids=["whole", "streamed"])
@pytest.mark.parametrize("reported", [False, {"prompt_tokens": -1, "completion_tokens": 5}])
def test_without_believable_figures_the_counted_ones_are_shown_and_charged(
    stage: Stage, form: Any, reported: Any
) -> None:
    answer = post(
        stage.api.url,
        stage.acme.key_text,
        chat_body(**form, mock={"chunks": 5, "usage": reported}),
    )

    body = last_of(answer)
    assert body["usage"]["completion_tokens"] == 5
    assert_settled(stage, body["id"], body["usage"], "counted")
    event = settled(stage, body["id"])
    assert body["usage"]["prompt_tokens"] == event.input


def test_a_picture_that_no_provider_measured_is_charged_by_an_estimate(stage: Stage) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://acme.example/a.png", "detail": "low"}},
    ]
    messages = [{"role": "user", "content": parts}]

    body = post(
        stage.api.url,
        stage.acme.key_text,
        chat_body(messages=messages, mock={"usage": False}),
    ).json()

    assert_settled(stage, body["id"], body["usage"], "estimated")
    # 3 for the answer, 4 for the message, 4 for its text, 85 for a picture at low detail
    assert body["usage"]["prompt_tokens"] == 96


@pytest.mark.parametrize("form", [{}, WITH_USAGE], ids=["whole", "streamed"])
def test_a_provider_that_reports_more_than_was_held_costs_what_was_held(
    stage: Stage, form: Any
) -> None:
    reported = {"prompt_tokens": 9, "completion_tokens": 39, "total_tokens": 48}

    answer = post(
        stage.api.url,
        stage.acme.key_text,
        chat_body(**form, max_tokens=10, mock={"chunks": 9, "usage": reported}),
    )

    body = last_of(answer)
    assert_settled(stage, body["id"], body["usage"], "provider")
    event = settled(stage, body["id"])
    assert (event.output, event.list_nanos) == (39, 9 * 1_000 + 39 * 2_000)
    assert event.amount_nanos < event.list_nanos
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("chunks", [600, 1500])
def test_more_than_was_held_in_a_long_stream_costs_what_its_tranches_held(
    stage: Stage, chunks: int
) -> None:
    reported = {
        "prompt_tokens": 9,
        "completion_tokens": 7_000,
        "completion_tokens_details": {"reasoning_tokens": 5_000},
    }

    answer = post(
        stage.api.url,
        stage.acme.key_text,
        chat_body(
            **WITH_USAGE,
            max_tokens=8_000,
            mock={"chunks": chunks, "delay_ms": 1, "usage": reported},
        ),
    )

    usage = frames(answer.text)[-2]
    assert_settled(stage, usage["id"], usage["usage"], "provider")
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("model", ["hacxgpt", "mock"])
def test_a_stream_that_ran_out_of_money_says_what_it_cost(stage: Stage, model: str) -> None:
    poor = make_tenant("Poor", credit_usd="0.0025")
    body = chat_body(
        model,
        **WITH_USAGE,
        messages=[{"role": "user", "content": "Tell me a story of 3000 words"}],
        max_tokens=4_000,
        mock={"chunks": 3_000},
    )
    if model == "hacxgpt":
        body.pop("mock")

    chunks = frames(post(stage.api.url, poor.key_text, body).text)

    event: UsageEvent = wait_for(UsageEvent.objects.filter(org_id=poor.org.pk).first)
    usage = chunks[-2]["usage"]
    assert Decimal(repr(usage["cost"])) * NANOS_PER_DOLLAR == event.amount_nanos
    assert usage["x_tollgate"] == {"evidence": event.evidence}


@pytest.mark.parametrize("form", [{}, WITH_USAGE], ids=["whole", "streamed"])
def test_a_replayed_answer_says_what_the_first_one_cost(stage: Stage, form: Any) -> None:
    asked = chat_body(**form, mock={"chunks": 5})

    first, again = (
        post(stage.api.url, stage.acme.key_text, asked, **{"idempotency-key": "k-1"})
        for _ in range(2)
    )

    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    assert b'"cost":0.000019,' in first.content
    body = last_of(first)
    assert settled(stage, body["id"]).amount_nanos == 19_000
    assert UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 1


def test_anthropics_answers_say_it_too(stage: Stage) -> None:
    ask: Any = {"model": "hacxgpt", "max_tokens": 20, "messages": HELLO}
    path = "/anthropic/v1/messages"

    whole = post(stage.api.url, stage.acme.key_text, ask, path=path)
    stream = post(stage.api.url, stage.acme.key_text, {**ask, "stream": True}, path=path)

    ended = [line for line in stream.text.split("\n") if '"message_delta"' in line]
    usages = [whole.json()["usage"], json.loads(ended[-1][6:])["usage"]]
    for answer, usage in zip((whole, stream), usages, strict=True):
        request_id = answer.headers["x-request-id"]
        event: UsageEvent = wait_for(UsageEvent.objects.filter(request_id=request_id).first)
        assert Decimal(repr(usage["cost"])) * NANOS_PER_DOLLAR == event.amount_nanos
        assert usage["x_tollgate"] == {"evidence": "provider"}
        assert "anthropic-ratelimit-requests-limit" in answer.headers


class AskedWriter:
    """Answers an extension when it is told to."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.asked: list[Extension] = []

    def extend(self, extension: Extension) -> asyncio.Future[bool]:
        self.asked.append(extension)
        return self.answer


@pytest.mark.parametrize(("is_granted", "held_nanos"), [(True, 5_000 + 2_048), (False, 5_000)])
async def test_what_is_held_is_known_before_a_charge_beyond_it_is_said(
    *, is_granted: bool, held_nanos: int
) -> None:
    writer = AskedWriter()
    price = Price(1, Usage(output=2_000_000))
    tranches = Tranches(
        cast("Writer", writer), "req_1", price, held_nanos=5_000, covered=1_024, most=2_048
    )
    tranches.extend_ahead(600)
    assert [extension.add_nanos for extension in writer.asked] == [2_048]

    before = tranches.held_nanos
    asyncio.get_running_loop().call_soon(writer.answer.set_result, is_granted)
    assert (before, await tranches.await_more()) == (5_000, held_nanos)
    assert await tranches.await_more() == held_nanos

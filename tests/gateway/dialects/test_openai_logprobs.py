"""Log probabilities: one entry a token, whole and streamed, and never a question too large."""

import asyncio
import math
from typing import Any

import orjson
import pytest

from billing.usage import Evidence, Usage
from gateway.chat import Answer, ChoiceFinished, StopReason, TextDelta, TokenOdds
from gateway.dialects.anthropic.outgoing import render_request
from gateway.dialects.openai import DIALECT
from gateway.dialects.receipts import Receipt
from gateway.providers.simulator import events
from gateway.providers.simulator.odds import make_odds
from kernel.errors import NotCarriedError
from kernel.money import Nanos
from tests.gateway.dialects.asking import WEATHER, ask, refusal_of

ANSWER = Answer("chatcmpl-1", "hacxgpt", 1710000000, "fp_1")
RECEIPT = Receipt(Usage(input=5, output=4, request=1), Nanos(13_000), Evidence.PROVIDER)


def happened(**fields: Any) -> Any:
    async def run() -> list[Any]:
        return [event async for batch in events(ask(**fields)) for event in batch]

    return asyncio.run(run())


def whole(**fields: Any) -> Any:
    body = DIALECT.render_answer(ask(**fields), ANSWER, happened(**fields), RECEIPT)
    return orjson.loads(body)["choices"][0]


def entries_of_stream(**fields: Any) -> list[Any]:
    stream = DIALECT.open_stream(ask(stream=True, **fields), ANSWER)
    chunks = stream.render(happened(**fields)).decode().split("\n\n")
    choices = [orjson.loads(chunk[6:])["choices"][0] for chunk in chunks if chunk]
    odds = [choice["logprobs"] for choice in choices]
    return [entry for each in odds if each for entry in each["content"]]


@pytest.mark.parametrize("top", [0, 1, 3, 20])
def test_there_is_one_entry_a_token_and_they_join_to_the_content(top: int) -> None:
    choice = whole(text="Tell me a story", logprobs=True, top_logprobs=top)
    entries = choice["logprobs"]["content"]

    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert len(entries) > 20
    assert {len(entry["top_logprobs"]) for entry in entries} == {top}
    assert choice["logprobs"]["refusal"] is None
    for entry in entries:
        assert bytes(entry["bytes"]).decode() == entry["token"]
        tokens = [other["token"] for other in entry["top_logprobs"]]
        odds = [other["logprob"] for other in entry["top_logprobs"]]
        assert len(set(tokens)) == top
        assert odds == sorted(odds, reverse=True)
        assert sum(math.exp(each) for each in odds) <= 1
        assert tokens[:1] == [entry["token"]][:top]


def test_a_stream_has_the_same_entries_and_so_has_the_next_answer() -> None:
    asked: Any = {"text": "Tell me a story", "logprobs": True, "top_logprobs": 2}

    assert entries_of_stream(**asked) == whole(**asked)["logprobs"]["content"]
    assert whole(**asked) == whole(**asked)


def test_without_asking_or_without_text_there_are_none() -> None:
    assert whole(text="Say hello")["logprobs"] is None
    assert whole(text="Say hello", logprobs=False)["logprobs"] is None
    assert whole(tools=[WEATHER], tool_choice="required", logprobs=True)["logprobs"] is None
    assert whole(logprobs=True)["logprobs"]["content"][0]["top_logprobs"] == []


def test_a_chunk_with_odds_is_this_byte_by_byte() -> None:
    odds = TokenOdds("é", -0.5, (TokenOdds("é", -0.5), TokenOdds(" a", -2.0)))
    stream = DIALECT.open_stream(ask(stream=True), ANSWER)
    frames = stream.render(
        [TextDelta(0, "é", 1, (odds,)), ChoiceFinished(0, StopReason.END)]
    ).decode()

    assert frames.split("\n\n")[1].partition('"choices":')[2] == (
        '[{"index":0,"delta":{"content":"é"},"logprobs":{"content":[{"token":"é","logprob":-0.5,'
        '"bytes":[195,169],"top_logprobs":[{"token":"é","logprob":-0.5,"bytes":[195,169]},'
        '{"token":" a","logprob":-2.0,"bytes":[32,97]}]}],"refusal":null},'
        '"finish_reason":null}]}'
    )


def test_odds_are_the_same_for_the_same_token_at_the_same_place() -> None:
    assert make_odds(" the", 3, 5) == make_odds(" the", 3, 5)
    assert make_odds(" the", 3, 5) != make_odds(" the", 4, 5)


def test_more_odds_than_an_answer_should_carry_are_refused() -> None:
    assert refusal_of(logprobs=True, top_logprobs=20, n=13) == ("integer_above_max_value", "n")
    assert refusal_of(top_logprobs=1) == ("invalid_value", "top_logprobs")
    assert refusal_of(logprobs=False, top_logprobs=0) == ("invalid_value", "top_logprobs")
    assert ask(logprobs=True, top_logprobs=20, n=12).top_logprobs == 20
    assert ask(logprobs=True, n=128).top_logprobs == 0


def test_where_an_upstream_has_no_counterpart_the_question_is_not_carried() -> None:
    for question in ({"logprobs": True}, {"messages": [{"role": "user", "content": [AUDIO]}]}):
        with pytest.raises(NotCarriedError) as caught:
            render_request(ask(**question), "up-1", 5)
        assert (caught.value.http_status, caught.value.code) == (400, "unsupported_value")
        assert caught.value.param in {"logprobs", "messages[0].content[0].input_audio"}


AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}}

"""Embeddings on a live server: the official client, what they cost, and what moves on a refusal."""

import asyncio
import math
from typing import Any

import pytest
import requests
from openai import AsyncOpenAI, BadRequestError, OpenAI

from accounts.keys import KeySpec
from billing.models import Hold, UsageEvent
from billing.usage import Usage
from gateway.chat import ChatRequest, Embed
from gateway.offers import create_model
from gateway.providers.anthropic import AnthropicProvider
from kernel.errors import NotCarriedError
from kernel.money import parse_usd
from tests.books import assert_proven
from tests.calls import CHAT, HELLO, post, transcript, wait_for
from tests.factories import ACTOR, make_tenant
from tests.stage import House, Stage, open_house

PATH = "/v1/embeddings"
MODEL = "text-embedding-3-small"


def offer_embeddings() -> None:
    price = Usage(embedding=parse_usd("2.00"))
    create_model("mock-embed", provider="mock", upstream_model="up-1", price=price, actor=ACTOR)


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=offer_embeddings) as opened:
        yield opened


def ask(stage: Stage, body: Any = None, *, path: str = PATH, **fields: Any) -> requests.Response:
    sent = {"model": MODEL, "input": "Hello", **fields} if body is None else body
    return post(stage.api.url, stage.acme.key_text, sent, path=path)


def settled(stage: Stage, answer: requests.Response) -> UsageEvent:
    request_id = answer.headers["x-request-id"]
    event: UsageEvent = wait_for(UsageEvent.objects.filter(request_id=request_id).first)
    return event


def rows(stage: Stage) -> int:
    return UsageEvent.objects.filter(org_id=stage.acme.org.pk).count()


def assert_nothing_moved(stage: Stage) -> None:
    assert rows(stage) == 0
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0


@pytest.mark.parametrize("path", [PATH, "/api/v1/embeddings", "/api/embeddings", PATH + "/"])
def test_every_alias_answers_and_says_what_it_cost(stage: Stage, path: str) -> None:
    answer = ask(stage, input=["Hello, world!", "2026"], path=path)

    assert answer.status_code == 200
    body = answer.json()
    assert [vector["index"] for vector in body["data"]] == [0, 1]
    assert [len(vector["embedding"]) for vector in body["data"]] == [1536, 1536]
    assert body["model"] == MODEL
    # 6 tokens at $0.02 a million
    assert body["usage"] == {
        "prompt_tokens": 6,
        "total_tokens": 6,
        "cost": 0.00000012,
        "x_tollgate": {"evidence": "provider"},
    }
    assert answer.headers["x-ratelimit-remaining-requests"]
    event = settled(stage, answer)
    assert (event.amount_nanos, event.embedding, event.input, event.output) == (120, 6, 0, 0)
    assert event.outcome == "completed"
    wait_for(lambda: stage.acme.account.held_nanos == 0)
    assert_proven(stage.stores.database_url, stage.journals)


def test_the_official_client_reads_base64_by_default_and_numbers_alike(stage: Stage) -> None:
    client = OpenAI(api_key=stage.acme.key_text, base_url=stage.api.url + "/v1", max_retries=0)

    default = client.embeddings.create(model=MODEL, input=["one", "two", "one"], dimensions=256)
    floats = client.embeddings.create(
        model=MODEL, input=["one", "two"], dimensions=256, encoding_format="float"
    )

    vectors = [each.embedding for each in default.data]
    assert vectors[:2] == [each.embedding for each in floats.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [256] * 3
    assert all(math.isclose(sum(x * x for x in v), 1, abs_tol=1e-5) for v in vectors)
    assert default.usage.prompt_tokens == default.usage.total_tokens == 3


def test_the_official_async_client_sends_tokens(stage: Stage) -> None:
    async def run() -> Any:
        async with AsyncOpenAI(
            api_key=stage.acme.key_text, base_url=stage.api.url + "/v1", max_retries=0
        ) as client:
            one = await client.embeddings.create(model=MODEL, input=[5, 6, 7])
            many = await client.embeddings.create(model=MODEL, input=[[5, 6, 7], [1]])
            return one, many

    one, many = asyncio.run(run())

    assert one.data[0].embedding == many.data[0].embedding
    assert (one.usage.total_tokens, many.usage.total_tokens) == (3, 4)


def test_the_most_inputs_are_answered_in_their_order(stage: Stage) -> None:
    texts = [f"text {place % 1000}" for place in range(2_048)]

    data = ask(stage, input=texts, dimensions=2).json()["data"]

    assert [vector["index"] for vector in data] == list(range(2_048))
    assert data[0]["embedding"] == data[1000]["embedding"] != data[1]["embedding"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [-1]}, "input"),
        ({"dimensions": 1_537}, "dimensions"),
        ({"model": "hacxgpt"}, "model"),
    ],
)
def test_a_refused_call_costs_nothing(stage: Stage, fields: Any, param: str) -> None:
    answer = ask(stage, **fields)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    wait_for(lambda: stage.acme.account.held_nanos == 0)
    wait_for(lambda: not Hold.objects.filter(org_id=stage.acme.org.pk, state="held").exists())
    assert rows(stage) == 0


def test_each_model_is_asked_for_what_it_is_sold_for(stage: Stage) -> None:
    embeddings = ask(stage, model="hacxgpt").json()["error"]
    chat = ask(stage, {"model": MODEL, "messages": HELLO}, path=CHAT)
    messages = {"model": MODEL, "messages": HELLO, "max_tokens": 5}
    anthropic = ask(stage, messages, path="/anthropic/v1/messages")

    assert embeddings == {
        "message": "hacxgpt is not an embeddings model. Use it with /v1/chat/completions.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "invalid_value",
    }
    assert (chat.status_code, anthropic.status_code) == (400, 400)
    assert chat.json()["error"]["message"] == (
        "text-embedding-3-small is not a chat model. Use it with /v1/embeddings."
    )
    assert "is not a chat model" in anthropic.json()["error"]["message"]
    assert_nothing_moved(stage)


def test_an_unknown_model_no_key_and_another_method_are_said_as_for_chat(stage: Stage) -> None:
    unknown = ask(stage, model="nope")
    nobody = post(stage.api.url, "", {"model": MODEL, "input": "a"}, path=PATH)
    read = requests.get(stage.api.url + PATH, timeout=10)

    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert (nobody.status_code, read.status_code) == (401, 405)
    assert read.headers["allow"] == "POST"
    assert_nothing_moved(stage)


def test_without_credit_nothing_is_embedded(house: House) -> None:
    mallory = make_tenant("Mallory", credit_usd="0")

    answer = post(house.api.url, mallory.key_text, {"model": MODEL, "input": "a"}, path=PATH)

    assert answer.status_code == 402
    assert not UsageEvent.objects.filter(org_id=mallory.org.pk).exists()


def test_a_key_that_may_not_call_the_model_is_refused(house: House) -> None:
    bob = make_tenant("Bob's", spec=KeySpec(name="chat only", allowed_models=["hacxgpt"]))

    answer = post(house.api.url, bob.key_text, {"model": MODEL, "input": "a"}, path=PATH)

    assert answer.status_code == 403


def test_the_hold_is_the_input_at_its_longest_and_not_a_token_more(house: House) -> None:
    # 5 bytes can be 5 tokens: 100 nanos; the credit is less than one nano short of that, or enough
    body = {"model": MODEL, "input": "Hello"}
    poor, rich = (
        make_tenant("Poor", credit_usd="0.000000099"),
        make_tenant("Rich", credit_usd="0.0000001"),
    )

    refused = post(house.api.url, poor.key_text, body, path=PATH)
    served = post(house.api.url, rich.key_text, body, path=PATH)

    assert (refused.status_code, served.status_code) == (402, 200)
    assert served.json()["usage"]["prompt_tokens"] == 1


def test_sent_again_under_its_key_it_is_answered_again_and_billed_once(stage: Stage) -> None:
    def send(key: str, path: str = PATH, **fields: Any) -> requests.Response:
        body = {"model": MODEL, "input": "Hello", **fields}
        return post(stage.api.url, stage.acme.key_text, body, path=path, **{"Idempotency-Key": key})

    first, again = send("a"), send("a", "/api/embeddings")
    other = send("a", input="Bye")
    chat = post(
        stage.api.url,
        stage.acme.key_text,
        {"model": "hacxgpt", "messages": HELLO},
        **{"Idempotency-Key": "a"},
    )

    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422
    assert chat.status_code == 200
    assert "idempotent-replayed" not in chat.headers
    wait_for(lambda: rows(stage) == 2)
    assert_proven(stage.stores.database_url, stage.journals)


def test_an_upstream_sees_the_callers_body_under_its_own_models_name(stage: Stage) -> None:
    before = len(transcript(stage.upstream.url))
    body = {"model": "mock-embed", "input": ["first text", "second text"], "own": [1.0]}

    answer = ask(stage, body)

    said = answer.json()
    assert said["asked"] == {**body, "model": "up-1"}
    assert said["model"] == "mock-embed"
    assert [vector["embedding"] for vector in said["data"]] == [[0.6, 0.8], [0.6, 0.8]]
    event = settled(stage, answer)
    assert (event.embedding, event.evidence) == (18, "provider")
    # at $2 a million
    assert said["usage"]["cost"] == 0.000036
    assert event.amount_nanos == 36_000
    seen = transcript(stage.upstream.url)[before:]
    assert [each["authorization"] for each in seen] == ["Bearer sk-upstream-secret"]


def test_without_an_upstreams_figures_our_own_count_is_charged(stage: Stage) -> None:
    answer = ask(stage, model="mock-embed", input="Hello, world!", mock={"usage": False})

    assert answer.json()["usage"] == {
        "prompt_tokens": 4,
        "total_tokens": 4,
        "cost": 0.000008,
        "x_tollgate": {"evidence": "counted"},
    }
    event = settled(stage, answer)
    assert (event.embedding, event.input, event.evidence) == (4, 0, "counted")
    assert event.amount_nanos == 8_000


def test_an_upstreams_nonsense_is_502_and_free(stage: Stage) -> None:
    answer = ask(stage, model="mock-embed", mock={"vectors": False})

    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_error"
    wait_for(lambda: not Hold.objects.filter(org_id=stage.acme.org.pk, state="held").exists())
    assert rows(stage) == 0
    assert stage.acme.account.held_nanos == 0


def test_anthropics_upstream_has_no_embeddings() -> None:
    provider: Any = AnthropicProvider(None, lambda _: "")  # type: ignore[arg-type] # not called
    request = ChatRequest("m", (), {}, embed=Embed(("a",)))
    with pytest.raises(NotCarriedError):
        asyncio.run(provider.open(request, None, max_output_tokens=1))


def test_the_client_raises_for_a_wrong_input(stage: Stage) -> None:
    client = OpenAI(api_key=stage.acme.key_text, base_url=stage.api.url + "/v1", max_retries=0)

    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input="")
    assert caught.value.param == "input"


def test_an_input_has_8192_tokens_at_most(stage: Stage) -> None:
    whole, beyond = ask(stage, input=[1] * 8_192), ask(stage, input=[1] * 8_193)

    assert whole.status_code == 200
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (400, "context_length_exceeded")

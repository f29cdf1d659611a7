"""Where what this API's callers read and OpenAI's own documents differ: what was decided.

Each is asked for on every alias, whole and streamed.
"""

from typing import Any

import orjson
import pytest
import requests

from billing.models import Hold, UsageEvent
from tests.calls import HELLO, post
from tests.gateway.dialects.asking import WEATHER
from tests.stage import Stage

ALIASES = pytest.mark.parametrize("alias", ["/v1", "/api/v1", "/api"])
STREAMED = pytest.mark.parametrize("streamed", [False, True])
FILM = {"type": "video_url", "video_url": {"url": "https://example.com/clip.mp4"}}
ASKS_WEATHER = [{"role": "user", "content": "What is the weather in San Francisco?"}]


def ask(stage: Stage, alias: str, **fields: Any) -> requests.Response:
    body = {"model": "hacxgpt", "messages": HELLO, **fields}
    return post(stage.api.url, stage.acme.key_text, body, path=f"{alias}/chat/completions")


def chunks_of(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    *chunks, done = answer.text.removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    return [orjson.loads(chunk.removeprefix("data: ")) for chunk in chunks]


def text_of(answer: requests.Response, *, streamed: bool) -> str:
    if not streamed:
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks_of(answer))


@ALIASES
@STREAMED
@pytest.mark.parametrize("top_k", [-1, 0, 1, 40])
def test_a_top_k_and_fields_nobody_knows_are_taken_and_change_nothing(
    stage: Stage, alias: str, top_k: int, *, streamed: bool
) -> None:
    plain = ask(stage, alias, stream=streamed)
    unknown = {"repetition_penalty": 1.1, "of_tomorrow": {"x": [1]}, "chat_template_kwargs": None}

    answer = ask(stage, alias, stream=streamed, top_k=top_k, **unknown)

    assert text_of(answer, streamed=streamed) == text_of(plain, streamed=streamed) != ""


@ALIASES
@STREAMED
def test_a_film_is_taken_and_acknowledged(stage: Stage, alias: str, *, streamed: bool) -> None:
    content = [{"type": "text", "text": "What is this?"}, FILM]

    answer = ask(stage, alias, messages=[{"role": "user", "content": content}], stream=streamed)

    assert text_of(answer, streamed=streamed).startswith("I have received 1 video.")


@ALIASES
@STREAMED
def test_json_mode_answers_with_an_object_where_an_array_is_asked_for(
    stage: Stage, alias: str, *, streamed: bool
) -> None:
    asked = [{"role": "user", "content": "List 3 colors as a JSON array"}]

    answer = ask(
        stage,
        alias,
        messages=asked,
        response_format={"type": "json_object"},
        stream=streamed,
    )

    assert list(orjson.loads(text_of(answer, streamed=streamed))) == ["colors"]


@ALIASES
def test_the_first_chunk_of_a_text_has_the_role_and_an_empty_content(
    stage: Stage, alias: str
) -> None:
    first, *others = chunks_of(ask(stage, alias, stream=True))

    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert all("role" not in chunk["choices"][0]["delta"] for chunk in others)


@ALIASES
def test_the_first_chunk_before_a_call_has_the_role_and_no_content(
    stage: Stage, alias: str
) -> None:
    answer = ask(stage, alias, stream=True, messages=ASKS_WEATHER, tools=[WEATHER])

    first, second, *_ = chunks_of(answer)

    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert list(second["choices"][0]["delta"]) == ["tool_calls"]


@ALIASES
def test_every_chunk_has_every_field_and_a_choice(stage: Stage, alias: str) -> None:
    chunks = chunks_of(ask(stage, alias, stream=True))

    fields = {"id", "object", "created", "model", "system_fingerprint", "choices"}
    assert {frozenset(chunk) for chunk in chunks} == {frozenset(fields)}
    assert {chunk["model"] for chunk in chunks} == {"hacxgpt"}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)


@ALIASES
def test_usage_comes_in_a_chunk_without_choices_where_it_is_asked_for(
    stage: Stage, alias: str
) -> None:
    *chunks, last = chunks_of(
        ask(stage, alias, stream=True, stream_options={"include_usage": True})
    )

    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > last["usage"]["prompt_tokens"] == 3 + 4 + 1
    assert {(chunk["usage"], len(chunk["choices"])) for chunk in chunks} == {(None, 1)}


@ALIASES
@STREAMED
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"model": None},
            (400, "You must specify a model to call", "missing_required_parameter"),
        ),
        ({"model": ""}, (400, "You must specify a model to call", "missing_required_parameter")),
        ({"messages": []}, (400, "Messages array cannot be empty", "empty_array")),
        ({"model": "no/such"}, (404, "Model not found: no/such", "model_not_found")),
    ],
)
def test_refusals_have_the_documents_words_and_the_official_codes(
    stage: Stage, alias: str, fields: Any, said: tuple[int, str, str], *, streamed: bool
) -> None:
    answer = ask(stage, alias, stream=streamed, **fields)

    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["code"]) == said
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()

"""The wire contract of media by their address: a name that leads inside is 400 in every dialect.

Which addresses those are is tried in test_media_lookup.py; here it is said to the caller in time.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from kernel.ids import random_base62
from tests.calls import CHAT, post, transcript
from tests.claude import running_claude
from tests.factories import make_tenant
from tests.fakes.name_server import NameServer, running_name_server
from tests.stage import House, Stage, open_house

MESSAGES = "/anthropic/v1/messages"
RESPONSES = "/v1/responses"
INSIDE, OUTSIDE = "https://inside.example/a.png", "https://outside.example/a.png"
SAYS = "The address leads to one that is not publicly accessible."
WAYS = {
    "a picture": (CHAT, "image_url", "messages[0].content[1].image_url.url"),
    "a film": (CHAT, "video_url", "messages[0].content[1].video_url.url"),
    "a picture of a message": (MESSAGES, "image", "messages.0.content.1.source.url"),
    "a document": (MESSAGES, "document", "messages.0.content.1.source.url"),
    "a picture of a response": (RESPONSES, "input_image", "input[0].content[1].image_url"),
}


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with running_name_server() as name_server:
        name_server.names |= {"inside.example": ["10.0.0.5"], "outside.example": ["93.184.215.14"]}
        yield name_server


@pytest.fixture(scope="module")
def house(
    names: NameServer, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """An api process that looks up names; their addresses are not called from a test."""
    with (
        open_house(
            django_db_blocker,
            tmp_path_factory.mktemp("house"),
            MEDIA_LOOKUP="names",
            MEDIA_NAME_SERVERS=names.address,
        ) as opened,
        running_claude(opened),
    ):
        yield opened


@pytest.fixture
def stage(house: House) -> Stage:
    acme = make_tenant(f"Acme {random_base62(6)}")
    return Stage(house.stores, house.api, house.upstream, house.folder, acme)


def body_with(way: str, url: str, model: str) -> dict[str, Any]:
    """Return a request that names ``url`` beside a question."""
    path, kind, _ = WAYS[way]
    text = {"type": "input_text" if path == RESPONSES else "text", "text": "What is this?"}
    part: dict[str, Any] = {"type": kind}
    if path == MESSAGES:
        part["source"] = {"type": "url", "url": url}
    elif path == RESPONSES:
        part["image_url"] = url
    else:
        part[kind] = {"url": url}
    turns = [{"role": "user", "content": [text, part]}]
    return {"model": model, **({"input": turns} if path == RESPONSES else {"messages": turns})}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_leads_inside_is_refused_before_anything_is_asked_or_held(
    stage: Stage, way: str, *, stream: bool
) -> None:
    path, _, param = WAYS[way]
    model = "claude" if way == "a document" else "mock"
    body = {**body_with(way, INSIDE, model), "stream": stream, "max_tokens": 64}
    asked_before = len(transcript(stage.upstream.url))

    answer = post(stage.api.url, stage.acme.key_text, body, path=path)

    error = answer.json()["error"]
    assert answer.status_code == 400
    if path == MESSAGES:
        assert (error["type"], error["message"]) == ("invalid_request_error", f"{param}: {SAYS}")
    else:
        assert (error["code"], error["param"]) == ("invalid_image_url", param)
        assert error["message"] == SAYS
    assert len(transcript(stage.upstream.url)) == asked_before
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert not Hold.objects.filter(org_id=stage.acme.org.pk).exists()


@pytest.mark.parametrize(
    ("way", "model"),
    [
        ("a picture", "mock"),
        ("a picture", "claude"),
        ("a picture of a message", "mock"),
        ("a picture of a message", "claude"),
        ("a document", "claude"),
        ("a picture of a response", "mock"),
    ],
)
def test_a_public_name_reaches_the_provider(stage: Stage, way: str, model: str) -> None:
    body = {**body_with(way, OUTSIDE, model), "max_tokens": 64}

    answer = post(stage.api.url, stage.acme.key_text, body, path=WAYS[way][0])

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("way", WAYS)
def test_the_built_in_model_loads_nothing_so_nobody_is_asked(
    stage: Stage, names: NameServer, way: str
) -> None:
    names.asked.clear()
    body = {**body_with(way, INSIDE, "hacxgpt"), "max_tokens": 64}

    answer = post(stage.api.url, stage.acme.key_text, body, path=WAYS[way][0])

    assert answer.status_code == 200, answer.text
    assert names.asked == []


def test_a_model_to_fall_back_on_is_not_led_inside_either(stage: Stage) -> None:
    body = {**body_with("a picture", INSIDE, "hacxgpt"), "models": ["hacxgpt", "mock"]}

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_image_url")

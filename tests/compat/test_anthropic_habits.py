"""What Anthropic's client does by itself, on which the wire contract rests."""

import inspect
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from anthropic.resources.messages import Messages
from pydantic import BaseModel

from billing.models import UsageEvent
from tests.compat.anthropic_client import STORY, client
from tests.stage import Stage

STOP = 'data: {"type":"message_stop"}\n\n'


class City(BaseModel):
    name: str
    people: int


def answered(stream: str) -> Anthropic:
    """Return a client whose every call is answered with this stream."""

    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, content=stream.encode()
        )

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    return Anthropic(api_key="a", base_url="http://localhost", http_client=transport)


def test_an_event_without_its_name_is_dropped_and_so_is_a_ping() -> None:
    stream = STOP + 'event: ping\ndata: {"type":"ping"}\n\nevent: message_stop\n' + STOP

    events = answered(stream).messages.create(
        model="hacxgpt", max_tokens=5, messages=STORY, stream=True
    )

    assert [event.type for event in events] == ["message_stop"]


def test_beyond_21333_tokens_the_client_wants_a_stream_and_sends_nothing(stage: Stage) -> None:
    ask: Any = {"model": "hacxgpt", "messages": STORY}

    with pytest.raises(ValueError, match="Streaming is required"):
        client(stage).messages.create(**ask, max_tokens=21_334)

    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()


@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_the_client_has_lost_are_taken_from_its_extra_body(
    stage: Stage, *, streamed: bool
) -> None:
    drawn = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}

    answer: Any = client(stage).messages.create(
        model="hacxgpt",
        max_tokens=1024,
        messages=[{"role": "user", "content": "Say hello"}],
        stream=streamed,
        extra_body=drawn,
    )

    assert not drawn.keys() & inspect.signature(Messages.create).parameters.keys()
    if streamed:
        texts = [event.delta.text for event in answer if event.type == "content_block_delta"]
        assert "".join(texts) == "Hello!"
    else:
        assert answer.content[0].text == "Hello!"


def test_a_form_the_client_is_given_is_answered_in_that_form(stage: Stage) -> None:
    message = client(stage).messages.parse(
        model="hacxgpt",
        max_tokens=1024,
        messages=[{"role": "user", "content": "Describe a city."}],
        output_format=City,
    )

    assert isinstance(message.parsed_output, City)

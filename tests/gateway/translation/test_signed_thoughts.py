"""Callers of OpenAI's dialect talk with a model that signs its thoughts, and keep them going."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.calls import transcript
from tests.claude import running_claude
from tests.factories import Tenant, make_tenant
from tests.fakes.messages import SEALED, SIGNATURE, THOUGHT
from tests.servers import Server
from tests.stage import House, Stage
from tests.stage import own_house as house

__all__ = ["house"]

HELLO = {"role": "user", "content": "Hello"}
AS_IT_WAS = [
    {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE},
    {"type": "redacted_thinking", "data": SEALED},
]


@pytest.fixture(scope="module")
def claude(house: House) -> Iterator[Server]:
    with running_claude(house) as server:
        yield server


def client_of(house: House, tenant: Tenant) -> OpenAI:
    return OpenAI(base_url=f"{house.api.url}/v1", api_key=tenant.key_text, max_retries=0)


def last_turn(claude: Server) -> list[Any]:
    """Return what the upstream was last sent as the assistant's own turn."""
    turns = transcript(claude.url)[-1]["body"]["messages"]
    content: list[Any] = turns[1]["content"]
    return content


def think(client: OpenAI, *turns: Any, streamed: bool = False) -> str:
    """Ask for thinking and return what is heard of it."""
    asked: dict[str, Any] = {
        "model": "claude",
        "messages": [HELLO, *turns],
        "reasoning_effort": "low",
    }
    if not streamed:
        answer = client.chat.completions.create(**asked)
        return str(answer.choices[0].message.to_dict()["reasoning_content"])
    chunks = client.chat.completions.create(**asked, stream=True)
    deltas = [chunk.choices[0].delta.to_dict() for chunk in chunks if chunk.choices]
    return "".join(str(delta.get("reasoning_content") or "") for delta in deltas)


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_sent_back_is_signed_again_by_the_platform(
    stage: Stage, claude: Server, *, streamed: bool
) -> None:
    client = client_of(stage, stage.acme)
    thought = think(client, streamed=streamed)
    assert thought == THOUGHT

    turn = {"role": "assistant", "content": "Yes.", "reasoning_content": thought}
    think(client, turn, {"role": "user", "content": "And?"}, streamed=streamed)

    assert last_turn(claude) == [*AS_IT_WAS, {"type": "text", "text": "Yes."}]


def test_thinking_that_is_not_known_is_dropped(stage: Stage, claude: Server) -> None:
    think(client_of(stage, stage.acme))
    others = client_of(stage, make_tenant("Mallory"))

    turn = {"role": "assistant", "content": "Yes.", "reasoning_content": THOUGHT}
    think(others, turn, {"role": "user", "content": "And?"})

    assert last_turn(claude) == [{"type": "text", "text": "Yes."}]


def test_items_of_thinking_are_signed_again_too(stage: Stage, claude: Server) -> None:
    client = client_of(stage, stage.acme)
    asked: dict[str, Any] = {"model": "claude", "reasoning": {"effort": "low"}}
    first = client.responses.create(input="Hello", **asked)
    assert [item.type for item in first.output] == ["reasoning", "message"]

    items: Any = [HELLO, *(item.to_dict() for item in first.output), {**HELLO, "content": "And?"}]
    client.responses.create(input=items, **asked)

    assert last_turn(claude) == [*AS_IT_WAS, {"type": "text", "text": first.output_text}]

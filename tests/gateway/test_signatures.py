"""What a provider signed comes back to it, by way of callers who never heard of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import pytest
from redis.asyncio import Redis

from accounts.principal import Principal
from billing.usage import NO_USAGE
from gateway.cache import signatures
from gateway.cache.signatures import Signatures, may_recall
from gateway.cache.store import AnswerCache
from gateway.catalog import Deployment
from gateway.chat import (
    ChatRequest,
    ChoiceFinished,
    Message,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    Thought,
    UsageReported,
)
from gateway.dialects.anthropic.outgoing import render_request
from gateway.providers.base import EventUpstream
from tests.conftest import Stores
from tests.gateway.translation.saying import sent

CLAUDE = Deployment(7, "claude", "anthropic", "", None, 1, 1, 1, 1, "up-1")
ALICE = cast("Principal", type("Alice", (), {"org_id": 1, "key_public_id": "alices"}))
MALLORY = cast("Principal", type("Mallory", (), {"org_id": 2, "key_public_id": "mallorys"}))
ASKING = ChatRequest("claude", (Message("user", "Hi"),), {}, effort="low", is_thinking=True)
END = ChoiceFinished(0, StopReason.END)


class Said:
    speaks_events: Literal[True] = True

    def __init__(self, *events: StreamEvent) -> None:
        self.events = events

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        for event in self.events:
            yield [event]

    async def aclose(self) -> None:
        pass


@pytest.fixture
async def signed(stores: Stores) -> AsyncIterator[Signatures]:
    async with Redis.from_url(stores.redis_url) as client:
        yield Signatures(AnswerCache(client, "secret", percent=10))


async def hear(signed: Signatures, *events: StreamEvent, request: ChatRequest = ASKING) -> None:
    """Let Alice hear an answer to its end."""
    upstream = signed.note(Said(*events), request, CLAUDE, ALICE)
    heard = [event async for batch in cast("EventUpstream", upstream).batches() for event in batch]
    assert heard == [*events]


def think(text: str, signature: str = "", *, choice: int = 0) -> list[StreamEvent]:
    half = len(text) // 2
    pieces = [ThinkingDelta(choice, piece, 1) for piece in (text[:half], text[half:])]
    return [*pieces, ThinkingEnded(choice, signature)]


async def send_back(
    signed: Signatures, *texts: str, by: Principal = ALICE, **fields: Any
) -> list[Thought]:
    """Return the thoughts of turns that come back, as far as they are known."""
    turns = [Message("assistant", "Yes.", thoughts=(Thought(text),)) for text in texts]
    request = replace(
        ASKING, messages=(*ASKING.messages, *turns, Message("user", "And?")), **fields
    )
    assert may_recall(request, [CLAUDE])
    recalled = await signed.recall(request, by)
    assert (recalled.wire, recalled.messages[0]) == (request.wire, ASKING.messages[0])
    return [thought for message in recalled.messages for thought in message.thoughts]


async def test_what_was_signed_is_known_again_in_all_its_parts(signed: Signatures) -> None:
    await hear(
        signed,
        *think("First. ", "s1"),
        ThinkingEnded(0, sealed="hidden"),
        *think("Then é.", "s2"),
        TextDelta(0, "Yes.", 1),
        END,
        UsageReported(NO_USAGE),
    )

    assert await send_back(signed, "First. Then é.", "Another.") == [
        Thought("First. ", "s1", signer="7/up-1"),
        Thought("", "", "hidden", "7/up-1"),
        Thought("Then é.", "s2", signer="7/up-1"),
        Thought("Another."),
    ]


async def test_nobody_else_is_given_a_signature(signed: Signatures) -> None:
    await hear(signed, *think("Hm.", "s1"), END)

    assert await send_back(signed, "Hm.", by=MALLORY) == [Thought("Hm.")]


async def test_stretches_with_something_between_are_known_each_and_together(
    signed: Signatures,
) -> None:
    await hear(signed, *think("One.", "s1"), TextDelta(0, "a", 1), *think("Two.", "s2"), END)

    found = await send_back(signed, "One.Two.", "Two.", "One.")

    assert [thought.signature for thought in found] == ["s1", "s2", "s2", "s1"]


async def test_every_choice_thinks_for_itself(signed: Signatures) -> None:
    await hear(signed, *think("Left.", "s1"), *think("Right.", "s2", choice=1), END)

    found = await send_back(signed, "Right.", "Left.")

    assert [thought.signature for thought in found] == ["s2", "s1"]


async def test_what_nobody_signed_is_too_much_or_breaks_off_is_not_kept(
    signed: Signatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hear(signed, *think("Unsigned."), END)
    monkeypatch.setattr(signatures, "MOST_BYTES", 100)
    await hear(signed, *think("x" * 90, "s" * 20), *think("y", "s"), END)
    broken = signed.note(Said(*think("Broken.", "s"), END), ASKING, CLAUDE, ALICE)
    async for _ in cast("EventUpstream", broken).batches():
        break

    found = await send_back(signed, "Unsigned.", "x" * 90, "y", "Broken.")

    assert [thought.signature for thought in found] == [""] * 4


async def test_the_latest_thoughts_are_looked_up_and_no_more(
    signed: Signatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "MOST_RECALLED", 2)
    await hear(signed, *think("Hm.", "s1"), END)

    found = await send_back(signed, "Hm.", "Hm.", "Hm.")

    assert [thought.signature for thought in found] == ["", "s1", "s1"]


async def test_with_redis_away_thoughts_stay_what_they_are() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as away:
        signed = Signatures(AnswerCache(away, "secret", percent=10))
        await hear(signed, *think("Hm.", "s1"), END)

        assert await send_back(signed, "Hm.") == [Thought("Hm.")]


def test_an_upstream_that_signs_nothing_or_is_not_asked_to_think_is_left_alone() -> None:
    signed = Signatures(cast("AnswerCache", None))
    upstream = Said()

    for request, deployment in (
        (replace(ASKING, is_thinking=False), CLAUDE),
        (replace(ASKING, dialect="anthropic"), CLAUDE),
        (ASKING, replace(CLAUDE, kind="openai")),
    ):
        assert signed.note(upstream, request, deployment, ALICE) is upstream


def test_thoughts_are_looked_up_only_for_who_wants_them_signed() -> None:
    turn = Message("assistant", "Yes.", thoughts=(Thought("Hm."),))
    request = replace(ASKING, messages=(*ASKING.messages, turn, Message("user", "And?")))
    other = replace(CLAUDE, kind="openai")

    assert may_recall(request, [other, CLAUDE])
    assert not may_recall(request, [other])
    assert not may_recall(ASKING, [CLAUDE])
    assert not may_recall(replace(request, is_thinking=False), [CLAUDE])
    assert not may_recall(replace(request, dialect="anthropic"), [CLAUDE])


def test_only_who_has_signed_is_sent_what_it_signed_and_only_where_it_is_to_think() -> None:
    thoughts = (
        Thought("Hm.", "s1", signer="7/up-1"),
        Thought("", sealed="hidden", signer="7/up-1"),
        Thought("No.", "s2", signer="8/up-1"),
        Thought("Unsigned.", signer="7/up-1"),
        Thought("Unknown."),
    )
    turn = Message("assistant", "Yes.", thoughts=thoughts)
    request = replace(ASKING, messages=(*ASKING.messages, turn, Message("user", "And?")))

    def turns(signer: str, **fields: Any) -> Any:
        body = sent(render_request(replace(request, **fields), "up-1", 100, signer))
        return body["messages"][1]["content"]

    said = {"type": "text", "text": "Yes."}
    assert turns("7/up-1") == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s1"},
        {"type": "redacted_thinking", "data": "hidden"},
        said,
    ]
    assert turns("9/up-1") == [said]
    assert turns("") == [said]
    assert turns("7/up-1", is_thinking=False) == [said]

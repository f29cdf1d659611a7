"""Signatures of thinking, kept for callers whose dialect has no words for them.

Anthropic's models sign what they think, and want it back as it was while they use tools. A caller
of another dialect hears the text alone, and sends that back. So the platform keeps the rest for a
day, where cached answers are kept, under a name made of the organization and the text.

1. ``note`` reads along while an answer passes, and keeps what was signed before its end goes out.
2. ``recall`` completes the thoughts of a request. What is not known stays a text, and is left out
   of what an Anthropic upstream is sent; so is what another model or provider has signed.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Literal

import orjson

from accounts.principal import Principal
from gateway.cache.store import DAY_S, AnswerCache
from gateway.catalog import Deployment
from gateway.chat import (
    ChatRequest,
    Embedded,
    Message,
    StreamEvent,
    ThinkingDelta,
    ThinkingEnded,
    Thought,
    UsageReported,
)
from gateway.providers.base import EventUpstream, Upstream

SIGNING = "anthropic"
# Thoughts of the turn that runs matter most; each is a look-up.
MOST_RECALLED = 32
MOST_BYTES = 512 * 1024


def may_recall(request: ChatRequest, deployments: Sequence[Deployment]) -> bool:
    """Tell whether a request brings thoughts without their signatures to whoever wants those."""
    return (
        request.is_thinking
        and request.dialect != SIGNING
        and any(each.kind == SIGNING for each in deployments)
        and any(message.thoughts for message in request.messages)
    )


class Signatures:
    """What this platform's providers have signed."""

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache

    async def recall(self, request: ChatRequest, principal: Principal) -> ChatRequest:
        """Return a request whose latest thoughts have their signatures, as far as those are known.

        Its wire is untouched: an upstream of the caller's dialect is sent what the caller said.
        """
        places = [place for place, each in enumerate(request.messages) if each.thoughts]
        places = places[-MOST_RECALLED:]
        texts = [_text_of(request.messages[place]) for place in places]
        found = await self._cache.find_many([self._name(text, principal) for text in texts])
        messages = [*request.messages]
        for place, text, content in zip(places, texts, found, strict=True):
            if content is not None:
                messages[place] = replace(messages[place], thoughts=_parse(text, content))
        return replace(request, messages=tuple(messages))

    def note(
        self, upstream: Upstream, request: ChatRequest, deployment: Deployment, by: Principal
    ) -> Upstream:
        """Return an upstream that says the same, and what it signs is kept."""
        signs = request.is_thinking and deployment.kind == SIGNING != request.dialect
        if not (signs and upstream.speaks_events):
            return upstream
        return _Noted(upstream, self, deployment.signer, by)

    async def keep(self, parts: Sequence[Thought], by: Principal) -> None:
        """Keep what stands behind a text, which is all its caller hears of these parts."""
        text = "".join(part.text for part in parts)
        rows = [[len(part.text), part.signature, part.sealed, part.signer] for part in parts]
        if text and any(part.signature or part.sealed for part in parts):
            content = orjson.dumps(rows)
            owner = by.key_public_id
            await self._cache.keep(self._name(text, by), content, ttl_s=DAY_S, owner=owner)

    def _name(self, text: str, principal: Principal) -> str:
        org = b"%d" % principal.org_id
        return self._cache.name(b"signatures", org, text.encode("utf-8", "surrogatepass"))


class _Noted:
    """An upstream that is read along with."""

    speaks_events: Literal[True] = True

    def __init__(
        self, upstream: EventUpstream, signatures: Signatures, signer: str, by: Principal
    ) -> None:
        self._upstream = upstream
        self._signatures = signatures
        self._choices: dict[int, _Thinking] = {}
        self._signer = signer
        self._by = by

    async def batches(self) -> AsyncIterator[Sequence[StreamEvent]]:
        async for batch in self._upstream.batches():
            for event in batch:
                self._note(event)
            yield batch
        for thinking in self._choices.values():
            for parts in thinking.as_heard():
                await self._signatures.keep(parts, self._by)

    async def aclose(self) -> None:
        await self._upstream.aclose()

    def _note(self, event: StreamEvent) -> None:
        if isinstance(event, Embedded | UsageReported):
            return
        thinking = self._choices.get(event.choice)
        if thinking is None:
            thinking = self._choices[event.choice] = _Thinking(self._signer)
        thinking.note(event)


class _Thinking:
    """One choice's thoughts, in stretches that something else was said between."""

    def __init__(self, signer: str) -> None:
        self._signer = signer
        self._stretches: list[list[Thought]] = []
        self._pieces: list[str] = []
        self._size = 0
        self._goes_on = False

    def note(self, event: StreamEvent) -> None:
        if self._size > MOST_BYTES:
            self._pieces.clear()
            self._stretches.clear()
            return
        match event:
            case ThinkingDelta(text=text):
                self._pieces.append(text)
                self._size += len(text)
            case ThinkingEnded(signature=signature, sealed=sealed):
                self._size += len(signature) + len(sealed)
                self._end(signature, sealed)
            case _:
                self._goes_on = False

    def _end(self, signature: str, sealed: str) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        if not self._goes_on:
            self._goes_on = True
            self._stretches.append([])
        self._stretches[-1].append(Thought(text, signature, sealed, self._signer))

    def as_heard(self) -> list[list[Thought]]:
        """Return the parts of each text a caller may send back: all of it, or a stretch."""
        whole = [part for stretch in self._stretches for part in stretch]
        return [whole] if len(self._stretches) < 2 else [whole, *self._stretches]  # noqa: PLR2004 # one is all


def _text_of(message: Message) -> str:
    return "".join(thought.text for thought in message.thoughts)


def _parse(text: str, content: bytes) -> tuple[Thought, ...]:
    """Cut a text into what was signed each for itself."""
    thoughts, place = [], 0
    for length, signature, sealed, signer in orjson.loads(content):
        thoughts.append(Thought(text[place : place + length], signature, sealed, signer))
        place += length
    return tuple(thoughts)

"""OpenAI answers that pass through: whole frames as bytes, a few fields patched, few frames parsed.

The first frame is parsed to learn how this server writes its id and model; from then on both are
replaced as bytes. Frames are parsed only when they carry usage, an error, or the end. The last
usage is kept back until the call is in the journal, and then says what it cost. What was relayed is
kept until it is counted: at a checkpoint, or at an end without the provider's own figures.
"""

import re
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from billing.usage import Usage
from gateway.chat import Answer, ChatRequest
from gateway.dialects.base import CutFrames
from gateway.dialects.openai.responses import render_usage
from gateway.dialects.openai.stream import DONE, OpenAIStream
from gateway.dialects.receipts import Receipt, replace_usage
from gateway.tokenizer import count_tokens
from kernel.errors import UpstreamError

MOST_FRAME_BYTES = 2**19  # joined to what comes next it is there three times: 1.5 MiB a stream
_USAGE = re.compile(rb'"usage":\s*\{')
_NULL_USAGE = re.compile(rb',\s*"usage":\s*null')
_ERROR = re.compile(rb'data:\s*\{\s*"error"')
_SPOKEN = re.compile(
    rb'"(?:content|reasoning_content|refusal|arguments)":\s*("[^"\\]*(?:\\.[^"\\]*)*")'
)
_DONE = DONE.rstrip()
# What makes a frame worth parsing. Plain searches: one expression for all cost five times as much.
_MARKS = (b'"usage":{', b'"usage": {', _DONE, b'{"error"', b'{ "error"')


class PassThroughStream:
    """Implements ``PassThrough``."""

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self.usage: Usage | None = None
        self.is_done = False
        self._request = request
        self._answer = answer
        self._include_usage = request.include_usage
        self._buffer = b""
        # what came before it goes out first, however the bytes were cut
        self._fault: UpstreamError | None = None
        self._last = b""
        self._uncounted: list[bytes] = []
        self._patches: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> bytes:
        """Take what arrived and return the frames that are whole, patched; maybe nothing.

        Usage at the end and the closing ``[DONE]`` are kept back: they are sent after the call is
        in the journal.

        Raises:
            UpstreamError: for an error frame, an endless frame, or a first frame that is no JSON.

        """
        buffer = self._buffer + data if self._buffer else data
        if b"\r" in buffer:
            buffer = buffer.replace(b"\r\n", b"\n")
        cut = buffer.rfind(b"\n\n") + 2
        if cut == 1:
            if len(buffer) > MOST_FRAME_BYTES:
                raise UpstreamError("The model's provider sent an endless line.")
            self._buffer = buffer
            return b""
        self._buffer = buffer[cut:]
        self._raise_fault()
        frames = self._patch(buffer[:cut])
        if frames:
            self._uncounted.append(frames)
        else:
            self._raise_fault()
        return frames

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _patch(self, frames: bytes) -> bytes:
        if not self._patches:
            self._learn(frames)
        marks = [place for place in map(frames.find, _MARKS) if place >= 0]
        if marks or self._last:
            before = -1 if self._last else frames.rfind(b"\n\n", 0, min(marks))
            start = 0 if before < 0 else before + 2
            frames = frames[:start] + self._sort_out(frames[start:])
        frames = self._rename(frames)
        if not self._include_usage and b'"usage"' in frames:
            frames = frames.replace(b',"usage":null', b"")
            if b'"usage"' in frames:
                frames = _NULL_USAGE.sub(b"", frames)
        return frames

    def count_relayed(self) -> int:
        """Return our own count of the tokens relayed since the last count."""
        relayed = [*self._uncounted, self._last] if self.is_done else self._uncounted
        self._uncounted = []
        return _count_spoken(b"".join(relayed))

    @property
    def uncounted_frames(self) -> int:
        """How many pieces wait to be counted."""
        return len(self._uncounted)

    def cut(self, frames: bytes, excess: int) -> CutFrames:
        kept = [frame for frame in frames.split(b"\n\n") if frame]
        gone = 0
        while kept and gone < excess:
            gone += _count_spoken(kept.pop())
        return CutFrames(b"".join(frame + b"\n\n" for frame in kept), gone)

    def cut_off(self, receipt: Receipt) -> bytes:
        renderer = OpenAIStream(self._request, self._answer)
        return renderer.cut_off() + renderer.finish(receipt)

    def finish(self, receipt: Receipt) -> bytes:
        if not self._last:
            return OpenAIStream(self._request, self._answer).finish(receipt)
        usage = _parse_frame(self._last).get("usage")
        stamped = receipt.stamp(usage, render_usage(receipt.usage))
        return self._rename(replace_usage(self._last, stamped)) + b"\n\n" + DONE

    def _rename(self, frames: bytes) -> bytes:
        for found, wanted in self._patches:
            frames = frames.replace(found, wanted)
        return frames

    def _learn(self, frames: bytes) -> None:
        for line in frames.split(b"\n"):
            if line.startswith(b"data: {"):
                first = _parse_frame(line)
                self._learn_field(line, "id", first, self._answer.completion_id)
                self._learn_field(line, "model", first, self._answer.model)
                return

    def _learn_field(self, line: bytes, name: str, frame: dict[str, Any], wanted: str) -> None:
        text = orjson.dumps(frame.get(name))
        match = re.search(rb'"' + name.encode() + rb'":\s*' + re.escape(text), line)
        if match is not None:
            self._patches.append((match[0], orjson.dumps({name: wanted})[1:-1]))

    def _sort_out(self, frames: bytes) -> bytes:
        kept = []
        for frame in frames.split(b"\n\n"):
            if not frame:
                continue
            if self._last and not frame.startswith(_DONE):
                kept.append(self._last)  # more comes: this usage was not the last
                self._last = b""
            if frame.startswith(_DONE):
                self.is_done = True
            elif _ERROR.match(frame):
                self._fault = UpstreamError("The model's provider broke off its answer.")
                break
            elif frame.startswith(b"data: {") and _USAGE.search(frame):
                body = _parse_frame(frame)
                self.usage = parse_usage(body.get("usage"))
                if body.get("choices") or self._include_usage:
                    self._last = frame
            else:
                kept.append(frame)
        return b"".join(frame + b"\n\n" for frame in kept)


def _parse_frame(line: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(line.removeprefix(b"data: "))
    except ValueError as error:
        raise UpstreamError("The model's provider sent a frame that is no JSON.") from error
    if not isinstance(body, dict):
        raise UpstreamError("The model's provider sent a frame that is no object.")
    return body


@dataclass(frozen=True, slots=True)
class PatchedAnswer:
    """A whole answer under our id and model, and the provider's figures where it gave any."""

    parsed: dict[str, Any]
    original: bytes
    usage: Usage | None

    def count(self) -> int:
        """Return our own count of the tokens in its text."""
        return _count_spoken(self.original)

    def render(self, receipt: Receipt) -> bytes:
        usage = receipt.stamp(self.parsed.get("usage"), render_usage(receipt.usage))
        return orjson.dumps({**self.parsed, "usage": usage})


def patch_answer(body: bytes, answer: Answer) -> PatchedAnswer:
    """Read and patch a whole answer.

    Raises:
        UpstreamError: for what is no chat completion.

    """
    try:
        parsed = orjson.loads(body)
    except ValueError as error:
        raise UpstreamError("The model's provider sent an answer that is no JSON.") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("choices"), list):
        raise UpstreamError("The model's provider sent an answer that is no completion.")
    parsed["id"] = answer.completion_id
    parsed["model"] = answer.model
    return PatchedAnswer(parsed, body, parse_usage(parsed.get("usage")))


def _count_spoken(data: bytes) -> int:
    return sum(count_tokens(orjson.loads(text)) for text in _SPOKEN.findall(data))


def parse_usage(usage: object) -> Usage | None:
    """Return OpenAI's figures in disjoint buckets, None for figures that cannot be true."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    if not (is_count(prompt) and is_count(completion)):
        return None
    if cached > prompt or reasoning > completion:
        return None
    return Usage(
        input=prompt - cached,
        cached_input=cached,
        output=completion - reasoning,
        reasoning=reasoning,
        request=1,
    )


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    value = details.get(name) if isinstance(details, dict) else None
    return value if is_count(value) else 0


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a provider's figure can be a number of tokens."""
    return type(value) is int and 0 <= value <= 10**12  # beyond any context

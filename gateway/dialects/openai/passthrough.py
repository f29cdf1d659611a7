"""OpenAI answers that pass through: every frame is read, and goes on under our name.

1. Each frame is read once, whole; of one that repeats another around its text, that text. What is
   no chunk of this dialect ends the stream; comments, fields of frames that are no data, and chunks
   that say nothing are left out.
2. It goes out under our id, model and time, every other byte as it came; a chunk that is not in the
   contract's form is written anew.
3. Usage is taken out of whichever chunk says it. The last one and the end are kept back until the
   call is in the journal; then it goes out alone, if it was asked for, and says what the call cost.
4. Nothing after the end counts, and before a choice has said why it ended there is none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from billing.usage import Usage, follow
from gateway.chat import Answer, ChatRequest, StopReason, ToolMode
from gateway.dialects.base import CutFrames
from gateway.dialects.openai.call_pieces import CallPieces
from gateway.dialects.openai.chunk_heads import ChunkHeads
from gateway.dialects.openai.spoken import count_chunk
from gateway.dialects.openai.stream import DONE, OpenAIStream
from gateway.dialects.openai.twins import Twins
from gateway.dialects.openai.usage import count_unseen, parse_usage, render_usage
from gateway.dialects.receipts import Receipt
from gateway.dialects.sse import FrameReader, SseFrame
from gateway.dialects.upstream_json import read_exactly, read_object, write_object
from gateway.tokenizer import count_tokens
from kernel.errors import TollgateError, UpstreamError

_FIELDS = {"index", "finish_reason"}
# What all chunks of a stream say alike, beside what is ours.
_SHARED = ("system_fingerprint", "service_tier")


class PassThroughStream:
    """Implements ``PassThrough``. ``_last`` is what the last usage goes out in.

    ``_is_in_form`` tells of the chunk in hand whether its bytes may go out as they came. ``_begun``
    and ``_ended`` are choices as the server said them, a bit each; ``_opened`` those the caller has
    heard of.
    """

    __slots__ = (
        "_answer",
        "_begun",
        "_calls",
        "_ended",
        "_heads",
        "_include_usage",
        "_is_in_form",
        "_last",
        "_opened",
        "_ours",
        "_reader",
        "_request",
        "_twins",
        "fault",
        "is_done",
        "uncounted_tokens",
        "usage",
    )

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self.usage: Usage | None = None
        self.fault: TollgateError | None = None
        self.is_done = False
        self.uncounted_tokens = 0
        self._request = request
        self._answer = answer
        self._include_usage = request.include_usage
        self._ours = {
            "id": answer.completion_id,
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
        }
        self._heads = ChunkHeads(self._ours)
        self._twins = Twins()
        self._is_in_form = True
        self._reader = FrameReader()
        self._last: _Kept | None = None
        self._begun = 0
        self._ended = 0
        self._opened = 0
        self._calls: dict[int, CallPieces] = {}

    def feed(self, data: bytes) -> bytes:
        """See ``PassThrough.feed``."""
        frames: list[bytes] = []
        if self._is_lone(data) and self._take_twin(data[6:-2], frames):
            return frames[0]
        try:
            for frame in self._reader.feed(data):
                if self.is_done:
                    break
                if frame.name or not self._take_twin(frame.payload, frames):
                    self._take(frame, frames)
        except UpstreamError as error:
            self.fault = error
        return b"".join(frames)

    def count_relayed(self) -> int:
        """See ``PassThrough.count_relayed``."""
        relayed, self.uncounted_tokens = self.uncounted_tokens, 0
        return relayed

    def cut(self, frames: bytes, excess: int) -> CutFrames:
        kept = [frame for frame in frames.split(b"\n\n") if frame]
        gone = 0
        while kept and gone < excess:
            gone += count_chunk(read_object(kept.pop().removeprefix(b"data: ")))
        return CutFrames(b"".join(frame + b"\n\n" for frame in kept), gone)

    def cut_off(self, receipt: Receipt, reason: StopReason = StopReason.BUDGET) -> bytes:
        renderer = OpenAIStream(self._request, self._answer)
        return renderer.cut_off(reason) + renderer.finish(receipt)

    def finish(self, receipt: Receipt) -> bytes:
        if self._last is None:
            return OpenAIStream(self._request, self._answer).finish(receipt)
        usage = receipt.write(self._last.usage, render_usage)
        return b'data: %b,"usage":%b}\n\n%b' % (self._last.head, usage, DONE)

    def _is_lone(self, data: bytes) -> bool:
        """Tell whether this is one frame or several, and no piece of one."""
        is_whole = data.startswith(b"data: ") and data.endswith(b"\n\n")
        return is_whole and self._reader.is_empty and not self.is_done

    def _take_twin(self, payload: bytes, frames: list[bytes]) -> bool:
        """Send a chunk that differs from another in its text alone."""
        twin = self._twins.render(payload)
        if twin is None:
            return False
        self._send(twin[0], count_tokens(twin[1]), frames)
        return True

    def _take(self, frame: SseFrame, frames: list[bytes]) -> None:
        if frame.payload == b"[DONE]":
            self._end()
            return
        chunk, self._is_in_form = read_exactly(frame.payload)
        if frame.name == b"error" or chunk.get("error"):
            raise _broken_off()
        choices, usage = chunk.get("choices"), chunk.get("usage")
        if choices:
            self._check(choices, frames)
        if usage and isinstance(usage, dict):
            choices = self._keep_back(chunk)
        if choices:
            written = self._patch(frame.payload, chunk) if self._is_in_form else None
            text = self._write(chunk) if written is None else written
            sent = b"data: %b\n\n" % text
            self._send(sent, count_chunk(chunk), frames)
            if written is not None and (said := _only_text(choices)) is not None:
                self._twins.learn(frame.payload, sent, said)
        elif type(choices) is not list and not frame.name:
            raise _odd()

    def _end(self) -> None:
        """End the answer: of choices that were asked for some servers make only one."""
        if not self._ended or self._ended != self._begun:
            raise _broken_off()
        self.is_done = True

    def _patch(self, payload: bytes, chunk: dict[str, Any]) -> bytes | None:
        return self._heads.patch(payload, chunk, with_usage=self._include_usage)

    def _write(self, chunk: dict[str, Any]) -> bytes:
        chunk.pop("usage", None)
        if self._include_usage:
            chunk["usage"] = None
        chunk.update(self._ours)
        return write_object(chunk)

    def _keep_back(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """Take usage out of a chunk, and return the choices that go out without it.

        A later one takes the place of an earlier one. Some servers say it beside an empty choice.
        """
        self._is_in_form = False
        usage, choices = count_unseen(chunk.pop("usage")), chunk.get("choices") or []
        self.usage = follow(self.usage, parse_usage(usage))
        is_alone = not any(map(_says_something, choices))
        if self._include_usage:
            # what else is said beside choices goes out with them
            said = {name: chunk[name] for name in _SHARED if name in chunk}
            rest = chunk if is_alone else said
            head = write_object({**rest, "choices": [], **self._ours})[:-1]
            self._last = _Kept(head, usage)
        return [] if is_alone else choices

    def _send(self, frame: bytes, tokens: int, frames: list[bytes]) -> None:
        frames.append(frame)
        self.uncounted_tokens += tokens

    def _check(self, choices: object, frames: list[bytes]) -> None:
        """Bring the choices of a chunk into the contract's form.

        Raises:
            UpstreamError: for what is none, and for an error in one.

        """
        if not isinstance(choices, list):
            raise _odd()
        for place, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise _odd()
            if choice.get("error"):
                raise _broken_off()
            if choice.get("delta") is None or not choice.keys() >= _FIELDS:
                self._fill(choice, place)
            delta, index = choice["delta"], choice["index"]
            if type(delta) is not dict or type(index) is not int:
                raise _odd()
            if not 0 <= index < self._request.n:
                raise _odd()
            self._check_said(choice, frames)

    def _fill(self, choice: dict[str, Any], place: int) -> None:
        self._is_in_form = False
        choice.setdefault("index", place)
        choice.setdefault("finish_reason", None)
        if choice.get("delta") is None:
            choice["delta"] = {}

    def _check_calls(self, index: int, choice: dict[str, Any]) -> None:
        """Number and name calls once, and name their end."""
        calls = self._calls.setdefault(index, CallPieces())
        if calls.mend(choice["delta"].get("tool_calls")):
            self._is_in_form = False
        if calls and choice["finish_reason"] == "stop":
            self._is_in_form = False
            choice["finish_reason"] = "tool_calls"

    def _open(self, choice: dict[str, Any], frames: list[bytes]) -> None:
        """Begin a choice, and those below it first: clients append them to a list as they come.

        Its first content is null where a call may follow, and nowhere else: clients join texts.
        """
        index, delta = choice["index"], choice["delta"]
        for lower in range(index):
            if not self._opened >> lower & 1:
                said = {"role": "assistant", "content": ""}
                opening = {"index": lower, "delta": said, "finish_reason": None}
                frames.append(b"data: %b\n\n" % self._write({"choices": [opening]}))
        self._opened |= 2 * (1 << index) - 1
        is_null = delta.get("content", "") is None and self._request.tool_mode is ToolMode.NONE
        if is_null or "role" not in delta:
            self._is_in_form = False
            content = {"content": ""} if is_null else {}
            choice["delta"] = {"role": "assistant", **delta, **content}

    def _check_said(self, choice: dict[str, Any], frames: list[bytes]) -> None:
        """Say who speaks, once; leave out of later pieces what clients would stumble over."""
        index, delta = choice["index"], choice["delta"]
        mark = 1 << index
        if choice["finish_reason"]:
            self._ended |= mark
        if "tool_calls" in delta or index in self._calls:
            self._check_calls(index, choice)
        self._begun |= mark
        if not self._opened & mark:
            self._open(choice, frames)
            return
        if "role" in delta:
            self._is_in_form = False
            del delta["role"]
        if "content" in delta and delta["content"] is None:
            self._is_in_form = False
            del delta["content"]


class _Kept(NamedTuple):
    """A chunk of no choices without its usage and its last brace; ``usage`` as it is told."""

    head: bytes
    usage: object


def _broken_off() -> UpstreamError:
    return UpstreamError("The model's provider broke off its answer.")


def _odd() -> UpstreamError:
    return UpstreamError("The model's provider sent a frame of a wrong form.")


def _says_something(choice: Mapping[str, Any]) -> bool:
    return any(value for name, value in choice.items() if name != "index")


def _only_text(choices: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what a chunk says where it says nothing else: no role, no call, no end."""
    if len(choices) != 1 or choices[0]["finish_reason"] is not None:
        return None
    delta = choices[0]["delta"]
    content = delta.get("content")
    return content if len(delta) == 1 and type(content) is str else None

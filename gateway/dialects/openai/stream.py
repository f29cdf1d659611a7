"""Streamed answers: frames as bytes. What never changes in a stream is rendered once.

1. Made with the stream: head and tail of every chunk.
2. ``render``: a choice begins with its role, which is sent once, because clients join strings; a
   lower choice begins before a higher one, because they append to a list.
3. ``finish`` sends the usage, where it was asked for, and ``[DONE]``; ``fail`` an error and
   ``[DONE]``, since clients take a silent end for success and raw readers wait for the word.
"""

from collections.abc import Iterable

import orjson

from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    StopReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    TokenOdds,
    ToolCallDelta,
    ToolCallStarted,
)
from gateway.dialects.openai.errors import render_streamed_error
from gateway.dialects.openai.functions import answers_with_functions
from gateway.dialects.openai.odds import render_odds
from gateway.dialects.openai.responses import finish_reason
from gateway.dialects.openai.usage import render_usage
from gateway.dialects.receipts import Receipt
from gateway.dialects.writing import dump_text
from kernel.errors import TollgateError

DONE = b"data: [DONE]\n\n"
# Not under "error": the SDKs raise on that word, and this is a clean end.
BUDGET_EXHAUSTED = b',"x_tollgate":{"code":"budget_exhausted"}}\n\n'


class OpenAIStream:
    """One streamed answer. About a microsecond a chunk: only the text itself is encoded."""

    __slots__ = (
        "_content",
        "_content_tail",
        "_head",
        "_include_usage",
        "_is_legacy",
        "_opened",
        "_tail",
    )

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self._include_usage = request.include_usage
        self._is_legacy = answers_with_functions(request)
        self._opened = 0
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,'
            b'"system_fingerprint":%b,"choices":['
        ) % (
            dump_text(answer.completion_id),
            answer.created,
            dump_text(answer.model),
            dump_text(answer.fingerprint),
        )
        self._tail = b'}],"usage":null}\n\n' if self._include_usage else b"}]}\n\n"
        self._content_tail = b'},"logprobs":null,"finish_reason":null' + self._tail
        self._content = [
            self._head + b'{"index":%d,"delta":{"content":' % choice for choice in range(request.n)
        ]

    def render(self, events: Iterable[StreamEvent]) -> bytes:
        """Return the frames of these events, possibly empty."""
        frames: list[bytes] = []
        add = frames.append
        for event in events:
            if type(event) is TextDelta:
                if event.choice >= self._opened:
                    self._open(event.choice, frames)
                add(self._content[event.choice])
                add(dump_text(event.text))
                add(self._content_tail if not event.odds else self._tail_with(event.odds))
            else:
                self._render_other(event, frames)
        return b"".join(frames)

    def cut_off(self, reason: StopReason = StopReason.BUDGET) -> bytes:
        """Return the last chunk of every choice, begun or not."""
        self._opened = len(self._content)
        return self.render(ChoiceFinished(choice, reason) for choice in range(self._opened))

    def finish(self, receipt: Receipt) -> bytes:
        """Return the usage chunk, where it was asked for, and the end."""
        if not self._include_usage:
            return DONE
        usage = orjson.dumps({**render_usage(receipt.usage), **receipt.fields()})
        return b'%b],"usage":%b}\n\n%b' % (self._head, usage, DONE)

    def fail(self, error: TollgateError) -> bytes:
        """Return the error frame and the end; no choice is said to have finished."""
        return b"data: %b\n\n%b" % (render_streamed_error(error), DONE)

    def _tail_with(self, odds: Iterable[TokenOdds]) -> bytes:
        return b'},"logprobs":' + render_odds(odds) + b',"finish_reason":null' + self._tail

    def _render_other(self, event: StreamEvent, frames: list[bytes]) -> None:
        match event:
            case ThinkingDelta(choice=choice, text=text):
                if choice >= self._opened:
                    self._open(choice, frames)
                frames.append(self._chunk(choice, b'"reasoning_content":' + dump_text(text)))
            case ToolCallStarted(choice=choice):
                if choice >= self._opened:
                    self._open(choice, frames, content=b"null")
                start = _render_function_start if self._is_legacy else _render_start
                frames.append(self._chunk(choice, start(event)))
            case ToolCallDelta(choice=choice, index=index, arguments=arguments):
                frames.append(self._chunk(choice, self._render_arguments(index, arguments)))
            case ChoiceFinished():
                self._render_end(event, frames)
            case _:
                pass

    def _render_arguments(self, index: int, arguments: str) -> bytes:
        if self._is_legacy:
            return b'"function_call":{"arguments":%b}' % dump_text(arguments)
        function = b'{"arguments":%b}' % dump_text(arguments)
        return b'"tool_calls":[{"index":%d,"function":%b}]' % (index, function)

    def _render_end(self, event: ChoiceFinished, frames: list[bytes]) -> None:
        if event.choice >= self._opened:
            self._open(event.choice, frames)
        word = b'"' + finish_reason(event.reason, is_legacy=self._is_legacy) + b'"'
        frames.append(self._chunk(event.choice, b"", finish_reason=word))
        if event.reason is StopReason.BUDGET:
            frames[-1] = frames[-1].removesuffix(b"}\n\n") + BUDGET_EXHAUSTED

    def _open(self, choice: int, frames: list[bytes], content: bytes = b'""') -> None:
        frames.extend(
            self._chunk(lower, b'"role":"assistant","content":""')
            for lower in range(self._opened, choice)
        )
        frames.append(self._chunk(choice, b'"role":"assistant","content":' + content))
        self._opened = choice + 1

    def _chunk(self, choice: int, delta: bytes, finish_reason: bytes = b"null") -> bytes:
        return b'%b{"index":%d,"delta":{%b},"logprobs":null,"finish_reason":%b%b' % (
            self._head,
            choice,
            delta,
            finish_reason,
            self._tail,
        )


def _render_start(event: ToolCallStarted) -> bytes:
    return (
        b'"tool_calls":[{"index":%d,"id":%b,"type":"function",'
        b'"function":{"name":%b,"arguments":""}}]'
    ) % (event.index, dump_text(event.call_id), dump_text(event.name))


def _render_function_start(event: ToolCallStarted) -> bytes:
    return b'"function_call":{"name":%b,"arguments":""}' % dump_text(event.name)

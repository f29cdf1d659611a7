"""Relaying: from the upstream to the caller, counted before it is sent, journalled before the end.

Each of the four ways ends with ``complete`` — which journals what the call came to — and only then
sends its last bytes. No task, log line or object is made per chunk; a caller that reads slowly
holds up ``send``, and with it the reading from upstream.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from billing.holds import Outcome
from gateway.call import Call
from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    Embedded,
    StopReason,
    StreamEvent,
    UsageReported,
)
from gateway.dialects.base import PassThrough, StreamRenderer
from gateway.idempotency import StoredAnswer
from gateway.metering import CHECKPOINT_TOKENS
from gateway.providers.base import ByteUpstream, EventUpstream, Upstream
from gateway.sale import Sale
from gateway.watch import Patience, Watch
from kernel.errors import TollgateError, UpstreamError
from kernel.log import logger

MOST_ANSWER_BYTES = 64 * 2**20
Keep = Callable[[StoredAnswer], Awaitable[None]]
COUNT_BYTES = 64 * 1024
# A provider's tokens may be fewer than ours for the same text, but not by more than this.
OVERRUN = 4
OVERRUN_SLACK_TOKENS = 16
# What a chunk may cost with everything around its token: other likely tokens, mostly.
MOST_TOKEN_BYTES = 4096
MOST_SILENT_EVENTS = 10_000
log = logger(__name__)


class Relay:
    """One call's way from upstream to caller, at the sale's expense.

    ``keep`` stores a whole answer before its last bytes leave, where the caller asked for that.
    """

    __slots__ = (
        "_answer",
        "_call",
        "_keep",
        "_meter",
        "_most_tokens",
        "_request",
        "_sale",
        "_tranches",
        "_watch",
    )

    def __init__(
        self, call: Call, request: ChatRequest, answer: Answer, sale: Sale, keep: Keep | None
    ) -> None:
        self._call = call
        self._request = request
        self._answer = answer
        self._keep = keep
        call.recording = bytearray() if keep is not None and request.stream else None
        self._sale = sale
        self._meter = sale.meter
        self._tranches = sale.tranches
        self._most_tokens = OVERRUN * (sale.tranches.most + OVERRUN_SLACK_TOKENS)

    def run(self, upstream: Upstream, patience: Patience) -> Awaitable[None]:
        """Relay everything, once that is awaited. Who opened the upstream closes it.

        Raises:
            TollgateError: when the upstream fails; frames of a started stream have been closed with
                an error frame by then, and the call is in the journal.

        """
        streams = self._request.stream
        if not (streams or upstream.speaks_events):
            body = upstream.take_whole()
            if body is not None:
                return self._answer_bytes(body)
        self._watch = Watch(self._call, self._meter, patience, streams=streams)
        if upstream.speaks_events:
            return (self._stream_events if streams else self._whole_events)(upstream)
        return (self._stream_bytes if streams else self._whole_bytes)(upstream)

    async def _stream_events(self, upstream: EventUpstream) -> None:
        call = self._call
        renderer = call.dialect.open_stream(self._request, self._answer)
        reason: StopReason | None = None
        try:
            with self._watch:
                async for batch in upstream.batches():
                    affordable = await self._afford(batch)
                    frames = renderer.render(affordable)
                    if frames:
                        await self._send(frames)
                    self._sale.checkpoint()
                    self._watch.note()
                    is_short = len(affordable) < len(batch)
                    reason = StopReason.BUDGET if is_short else self._find_overrun()
                    if reason is not None:
                        break
        except TollgateError as error:
            await self._break_off(error, renderer)
            raise
        cut_off = b"" if reason is None else renderer.cut_off(reason)
        last = cut_off + renderer.finish(await self._sale.receipt())
        if not call.started:
            await call.start_stream()
        await self._end_stream(reason, last)

    async def _afford(self, batch: Sequence[StreamEvent]) -> Sequence[StreamEvent]:
        """Count a batch and return it, or as much of its beginning as money can be held for."""
        meter, tranches = self._meter, self._tranches
        before = meter.output_tokens
        self._count(batch)
        tranches.extend_ahead(meter.output_tokens)
        if meter.output_tokens <= tranches.covered or await tranches.cover(meter.output_tokens):
            return batch
        room, place = tranches.covered - before, 0
        while place < len(batch) and (tokens := _tokens(batch[place])) <= room:
            room -= tokens
            place += 1
        meter.take_back(meter.output_tokens - (tranches.covered - room))
        return batch[:place]

    async def _stream_bytes(self, upstream: ByteUpstream) -> None:
        call, meter = self._call, self._meter
        stream = call.dialect.open_pass_through(self._request, self._answer)
        try:
            with self._watch:
                reason = await self._pass_through(upstream, stream)
        except TollgateError as error:
            meter.add(stream.count_relayed())
            renderer = call.dialect.open_stream(self._request, self._answer)
            await self._break_off(error, renderer)
            raise
        except BaseException:
            meter.add(stream.count_relayed())
            raise
        if reason is not None:
            last = stream.cut_off(await self._sale.receipt(), reason)
            await self._end_stream(reason, last)
            return
        meter.add(stream.count_relayed())
        if stream.usage is not None:
            meter.report(stream.usage)
        await self._end_stream(None, stream.finish(await self._sale.receipt()))

    async def _end_stream(self, reason: StopReason | None, last: bytes) -> None:
        if self._keep is not None:
            said = self._call.recording
            content = None if said is None else bytes(said) + last
            await self._keep(StoredAnswer(True, content))
        outcome = Outcome.BUDGET_EXHAUSTED if reason is StopReason.BUDGET else Outcome.COMPLETED
        self._sale.complete(outcome)
        await self._call.finish(last)

    async def _pass_through(self, upstream: ByteUpstream, stream: PassThrough) -> StopReason | None:
        """Relay a stream's bytes; return why it was cut, None for a whole one."""
        meter, tranches, size, counted = self._meter, self._tranches, 0, 0
        while stream.fault is None and (data := await upstream.read()):
            size += len(data)
            frames = stream.feed(data)
            if tranches.is_tight(meter.output_tokens + stream.uncounted_tokens):
                covered = await self._cover(stream, frames)
                if covered is not None:
                    await self._send(covered)
                    return StopReason.BUDGET
            if frames:
                await self._send(frames)
            is_much = stream.uncounted_tokens >= CHECKPOINT_TOKENS or size - counted >= COUNT_BYTES
            if is_much or not meter.output_tokens or meter.is_late:
                counted = size
                meter.add(stream.count_relayed())
                self._sale.checkpoint()
                self._watch.note()
                if self._find_overrun() is not None:
                    return StopReason.LENGTH
                self._check_size(size)
        if not stream.is_done:
            raise stream.fault or UpstreamError("The model's provider broke off its answer.")
        return None

    async def _cover(self, stream: PassThrough, frames: bytes) -> bytes | None:
        """Hold money for what is about to go out; return as much as it covers, None for all."""
        meter, tranches = self._meter, self._tranches
        meter.add(stream.count_relayed())
        tranches.extend_ahead(meter.output_tokens)
        if await tranches.cover(meter.output_tokens):
            return None
        cut = stream.cut(frames, meter.output_tokens - tranches.covered)
        meter.take_back(cut.cut_tokens)
        return cut.frames

    def _check_size(self, size: int) -> None:
        """Refuse what has more bytes than any answer could: it says nothing, without end."""
        if size > MOST_ANSWER_BYTES + self._tranches.most * MOST_TOKEN_BYTES:
            raise UpstreamError("The model's provider sent an endless answer.")

    def _find_overrun(self) -> StopReason | None:
        """Return why to cut an upstream that has written more than it was let, else None.

        Its caller has had all it asked for by then, and is charged for no more than that.
        """
        if self._meter.output_tokens <= self._most_tokens:
            return None
        most = self._tranches.most
        log.warning("upstream_overran", request=self._meter.request_id, most_tokens=most)
        self._meter.take_back(self._meter.output_tokens - most)
        return StopReason.LENGTH

    async def _whole_events(self, upstream: EventUpstream) -> None:
        events: list[StreamEvent] = []
        tokens = 0
        with self._watch:
            async for batch in upstream.batches():
                events.extend(batch)
                tokens += sum(map(_tokens, batch))
                if tokens > self._most_tokens:
                    break
                if len(events) > tokens + MOST_SILENT_EVENTS:
                    raise UpstreamError("The model's provider sent an endless answer.")
        self._count(events)
        reason = self._find_overrun()
        if reason is not None:
            events += [ChoiceFinished(choice, reason) for choice in range(self._request.n)]
        body = self._call.dialect.render_answer(
            self._request, self._answer, events, await self._sale.receipt()
        )
        await self._end_whole(body)

    async def _whole_bytes(self, upstream: ByteUpstream) -> None:
        parts: list[bytes] = []
        size = 0
        with self._watch:
            while data := await upstream.read():
                parts.append(data)
                size += len(data)
                if size > MOST_ANSWER_BYTES:
                    raise UpstreamError("The model's provider sent an endless answer.")
        await self._answer_bytes(b"".join(parts))

    async def _answer_bytes(self, body: bytes) -> None:
        patched = self._call.dialect.patch_answer(body, self._request, self._answer)
        self._meter.add(patched.count())
        if patched.usage is not None:
            self._meter.report(patched.usage)
        await self._end_whole(patched.render(await self._sale.receipt()))

    async def _end_whole(self, body: bytes) -> None:
        if self._keep is not None:
            try:
                await self._keep(StoredAnswer(False, body))
            except asyncio.CancelledError:
                # it may be stored by now: who asks again is to be charged once, not twice or never
                self._sale.complete(Outcome.COMPLETED)
                raise
        self._sale.complete(Outcome.COMPLETED)
        await self._call.answer(body)

    def _count(self, batch: Sequence[StreamEvent]) -> None:
        for event in batch:
            if isinstance(event, UsageReported):
                self._meter.report(event.usage)
            else:
                self._meter.add(_tokens(event))

    async def _begin(self, frames: bytes) -> None:
        await self._call.start_stream()
        await self._call.send(frames)

    def _send(self, frames: bytes) -> Awaitable[None]:
        return self._call.send(frames) if self._call.started else self._begin(frames)

    async def _break_off(self, error: TollgateError, renderer: StreamRenderer) -> None:
        """Close a started stream with an error frame; an answer not begun is left to the door."""
        if not self._call.started:
            return
        self._sale.settle(Outcome.TRUNCATED)
        await self._call.finish(renderer.fail(error))


def _tokens(event: StreamEvent) -> int:
    return 0 if isinstance(event, ChoiceFinished | Embedded | UsageReported) else event.tokens

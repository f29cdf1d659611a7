"""Relaying: from the upstream to the caller, counted before it is sent, journalled before the end.

Each of the four ways ends with ``complete`` — which journals what the call came to — and only then
sends its last bytes. No task, log line or object is made per chunk; a caller that reads slowly
holds up ``send``, and with it the reading from upstream.
"""

from collections.abc import Awaitable, Callable, Sequence

from billing.holds import Outcome
from gateway.call import Call
from gateway.chat import (
    Answer,
    ChatRequest,
    ChoiceFinished,
    Embedded,
    StreamEvent,
    UsageReported,
)
from gateway.dialects.base import PassThrough, StreamRenderer
from gateway.idempotency import StoredAnswer
from gateway.providers.base import ByteUpstream, EventUpstream, Upstream
from gateway.sale import Sale
from gateway.watch import Patience, Watch
from kernel.errors import TollgateError, UpstreamError

MOST_ANSWER_BYTES = 64 * 2**20
Keep = Callable[[StoredAnswer], Awaitable[None]]
COUNT_EVERY = 32
# No server spends fewer bytes of frame on a token; so this never guesses too few tokens.
BYTES_PER_TOKEN = 8


class Relay:
    """One call's way from upstream to caller, at the sale's expense.

    ``keep`` stores a whole answer before its last bytes leave, where the caller asked for that.
    """

    __slots__ = ("_answer", "_call", "_keep", "_meter", "_request", "_sale", "_tranches", "_watch")

    def __init__(
        self, call: Call, request: ChatRequest, answer: Answer, sale: Sale, keep: Keep | None
    ) -> None:
        self._call = call
        self._request = request
        self._answer = answer
        self._keep = keep
        call.recording = [] if keep is not None and request.stream else None
        self._sale = sale
        self._meter = sale.meter
        self._tranches = sale.tranches

    async def run(self, upstream: Upstream, patience: Patience) -> None:
        """Relay everything and close the upstream, whatever happens.

        Raises:
            TollgateError: when the upstream fails; frames of a started stream have been closed with
                an error frame by then, and the call is in the journal.

        """
        self._watch = Watch(self._call, self._meter, patience, streams=self._request.stream)
        try:
            if upstream.speaks_events:
                relay = self._stream_events if self._request.stream else self._whole_events
                await relay(upstream)
            else:
                relay_bytes = self._stream_bytes if self._request.stream else self._whole_bytes
                await relay_bytes(upstream)
        finally:
            await upstream.aclose()

    async def _stream_events(self, upstream: EventUpstream) -> None:
        call = self._call
        renderer = call.dialect.open_stream(self._request, self._answer)
        outcome = Outcome.COMPLETED
        try:
            async with self._watch:
                async for batch in upstream.batches():
                    affordable = await self._afford(batch)
                    frames = renderer.render(affordable)
                    if frames:
                        await self._send(frames)
                    self._sale.checkpoint()
                    self._watch.note()
                    if len(affordable) < len(batch):
                        outcome = Outcome.BUDGET_EXHAUSTED
                        break
        except TollgateError as error:
            await self._break_off(error, renderer)
            raise
        cut_off = renderer.cut_off() if outcome is Outcome.BUDGET_EXHAUSTED else b""
        last = cut_off + renderer.finish(await self._sale.receipt())
        if not call.started:
            await call.start_stream()
        await self._end_stream(outcome, last)

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
            async with self._watch:
                is_whole = await self._pass_through(upstream, stream)
        except TollgateError as error:
            meter.add(stream.count_relayed())
            renderer = call.dialect.open_stream(self._request, self._answer)
            await self._break_off(error, renderer)
            raise
        except BaseException:
            meter.add(stream.count_relayed())
            raise
        if not is_whole:
            receipt = await self._sale.receipt()
            await self._end_stream(Outcome.BUDGET_EXHAUSTED, stream.cut_off(receipt))
            return
        meter.add(stream.count_relayed())
        if stream.usage is not None:
            meter.report(stream.usage)
        await self._end_stream(Outcome.COMPLETED, stream.finish(await self._sale.receipt()))

    async def _end_stream(self, outcome: Outcome, last: bytes) -> None:
        if self._keep is not None and self._call.recording is not None:
            await self._keep(StoredAnswer(True, b"".join([*self._call.recording, last])))
        self._sale.complete(outcome)
        await self._call.finish(last)

    async def _pass_through(self, upstream: ByteUpstream, stream: PassThrough) -> bool:
        """Relay a stream's bytes and return True, or False where money for the rest ran out."""
        meter, tranches = self._meter, self._tranches
        async for data in upstream.chunks():
            frames = stream.feed(data)
            if tranches.is_tight(meter.output_tokens + len(frames) // BYTES_PER_TOKEN):
                meter.add(stream.count_relayed())
                tranches.extend_ahead(meter.output_tokens)
                if not await tranches.cover(meter.output_tokens):
                    cut = stream.cut(frames, meter.output_tokens - tranches.covered)
                    meter.take_back(cut.cut_tokens)
                    await self._send(cut.frames)
                    return False
            if frames:
                await self._send(frames)
            if not meter.output_tokens or stream.uncounted_frames >= COUNT_EVERY or meter.is_late:
                meter.add(stream.count_relayed())
                self._sale.checkpoint()
                self._watch.note()
        if not stream.is_done:
            raise UpstreamError("The model's provider broke off its answer.")
        return True

    async def _whole_events(self, upstream: EventUpstream) -> None:
        events: list[StreamEvent] = []
        async with self._watch:
            async for batch in upstream.batches():
                events.extend(batch)
        self._count(events)
        body = self._call.dialect.render_answer(
            self._request, self._answer, events, await self._sale.receipt()
        )
        await self._end_whole(body)

    async def _whole_bytes(self, upstream: ByteUpstream) -> None:
        parts: list[bytes] = []
        size = 0
        async with self._watch:
            async for data in upstream.chunks():
                parts.append(data)
                size += len(data)
                if size > MOST_ANSWER_BYTES:
                    raise UpstreamError("The model's provider sent an endless answer.")
        patched = self._call.dialect.patch_answer(b"".join(parts), self._answer)
        self._meter.add(patched.count())
        if patched.usage is not None:
            self._meter.report(patched.usage)
        await self._end_whole(patched.render(await self._sale.receipt()))

    async def _end_whole(self, body: bytes) -> None:
        if self._keep is not None:
            await self._keep(StoredAnswer(False, body))
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

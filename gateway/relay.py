"""Relaying: from the upstream to the caller, counted before it is sent, journalled before the end.

Each of the four ways ends with ``ending`` — which journals what the call came to — and only then
sends its last bytes. No task, log line or object is made per chunk; a caller that reads slowly
holds up ``send``, and with it the reading from upstream.
"""

from collections.abc import Callable, Sequence

from billing.holds import Closing, Outcome
from gateway.call import Call
from gateway.chat import Answer, ChatRequest, ChoiceFinished, StreamEvent, UsageReported
from gateway.dialects.openai.passthrough import PassThroughStream, patch_answer
from gateway.metering import Meter
from gateway.providers.base import ByteUpstream, EventUpstream, Upstream
from kernel.errors import TollgateError, UpstreamError

MOST_ANSWER_BYTES = 64 * 2**20
COUNT_EVERY = 32
Checkpoint = Callable[[Closing], None]
Ending = Callable[[Outcome], None]


class Relay:
    """One call's way from upstream to caller.

    ``checkpoint`` writes a running stream's state to the journal, ``ending`` closes the call there.
    """

    __slots__ = ("_answer", "_call", "_checkpoint", "_ending", "_meter", "_request")

    def __init__(
        self,
        call: Call,
        request: ChatRequest,
        answer: Answer,
        meter: Meter,
        *,
        checkpoint: Checkpoint,
        ending: Ending,
    ) -> None:
        self._call = call
        self._request = request
        self._answer = answer
        self._meter = meter
        self._checkpoint = checkpoint
        self._ending = ending

    async def run(self, upstream: Upstream) -> None:
        """Relay everything and close the upstream, whatever happens.

        Raises:
            TollgateError: when the upstream fails; frames of a started stream have been closed with
                an error frame by then, and the call is in the journal.

        """
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
        call, meter = self._call, self._meter
        renderer = call.dialect.open_stream(self._request, self._answer)
        try:
            async for batch in upstream.batches():
                self._count(batch)
                frames = renderer.render(batch)
                if frames:
                    await self._send(frames)
                if meter.checkpoint_due():
                    self._checkpoint(meter.closing(Outcome.INTERRUPTED))
        except TollgateError as error:
            await self._break_off(error)
            raise
        last = renderer.finish(meter.usage)
        if not call.started:
            await call.start_stream()
        self._ending(Outcome.COMPLETED)
        await call.finish(last)

    async def _stream_bytes(self, upstream: ByteUpstream) -> None:
        meter = self._meter
        stream = PassThroughStream(self._answer, include_usage=self._request.include_usage)
        try:
            await self._pass_through(upstream, stream)
        except TollgateError as error:
            meter.add(stream.count_relayed())
            await self._break_off(error)
            raise
        except BaseException:
            meter.add(stream.count_relayed())
            raise
        if stream.usage is None or not meter.report(stream.usage):
            meter.add(stream.count_relayed())
        self._ending(Outcome.COMPLETED)
        await self._call.finish(b"data: [DONE]\n\n")

    async def _pass_through(self, upstream: ByteUpstream, stream: PassThroughStream) -> None:
        meter = self._meter
        async for data in upstream.chunks():
            frames = stream.feed(data)
            if frames:
                await self._send(frames)
            if stream.uncounted_frames >= COUNT_EVERY or meter.is_late:
                meter.add(stream.count_relayed())
                if meter.checkpoint_due():
                    self._checkpoint(meter.closing(Outcome.INTERRUPTED))
        if not stream.is_done:
            raise UpstreamError("The model's provider broke off its answer.")

    async def _whole_events(self, upstream: EventUpstream) -> None:
        events: list[StreamEvent] = []
        async for batch in upstream.batches():
            events.extend(batch)
        self._count(events)
        body = self._call.dialect.render_answer(
            self._request, self._answer, events, self._meter.usage
        )
        self._ending(Outcome.COMPLETED)
        await self._call.answer(body)

    async def _whole_bytes(self, upstream: ByteUpstream) -> None:
        parts: list[bytes] = []
        size = 0
        async for data in upstream.chunks():
            parts.append(data)
            size += len(data)
            if size > MOST_ANSWER_BYTES:
                raise UpstreamError("The model's provider sent an endless answer.")
        patched = patch_answer(b"".join(parts), self._answer)
        if patched.usage is None or not self._meter.report(patched.usage):
            self._meter.add(patched.count())
        self._ending(Outcome.COMPLETED)
        await self._call.answer(patched.body)

    def _count(self, batch: Sequence[StreamEvent]) -> None:
        for event in batch:
            if isinstance(event, UsageReported):
                self._meter.report(event.usage)
            elif not isinstance(event, ChoiceFinished):
                self._meter.add(event.tokens)

    async def _send(self, frames: bytes) -> None:
        if not self._call.started:
            await self._call.start_stream()
        await self._call.send(frames)

    async def _break_off(self, error: TollgateError) -> None:
        """Close a started stream with an error frame; an answer not begun is left to the door."""
        if not self._call.started:
            return
        self._ending(Outcome.TRUNCATED)
        renderer = self._call.dialect.open_stream(self._request, self._answer)
        await self._call.finish(renderer.fail(error))

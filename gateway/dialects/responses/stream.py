"""Streamed answers: named events, numbered without gaps from 0.

1. ``response.created`` and ``.in_progress`` come before the first thing that is said.
2. Every output is added, said in pieces, said as a whole, and done before the next one begins.
3. ``finish`` ends with the whole response, completed or incomplete; ``fail`` with an error and a
   failed one: some clients look for the first, some for the second.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.chat import Answer, ChatRequest, StopReason, StreamEvent
from gateway.dialects.receipts import Receipt
from gateway.dialects.responses.answers import Output, Outputs, begun_response, ended_response
from gateway.dialects.writing import clean
from kernel.errors import TollgateError

_NAMES = {
    "message": "output_text",
    "reasoning": "reasoning_text",
    "function_call": "function_call_arguments",
}


class ResponsesStream:
    """One streamed answer. Implements ``StreamRenderer``."""

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self._begun = begun_response(request, answer)
        self._outputs = Outputs(answer)
        self._open: Output | None = None
        self._number = 0

    def render(self, events: Iterable[StreamEvent]) -> bytes:
        """Return the frames of these events, possibly empty."""
        frames: list[bytes] = []
        for event in events:
            taken = self._outputs.take(event)
            if taken is None:
                continue
            output, piece = taken
            if output is not self._open:
                self._begin(frames)
                self._end_output(frames)
                self._begin_output(output, frames)
            if piece:
                frames.append(self._said("delta", output, delta=clean(piece)))
        return b"".join(frames)

    def cut_off(self, reason: StopReason = StopReason.BUDGET) -> bytes:
        """Note why the answer ends; the closing frames say it."""
        self._outputs.reason = reason
        return b""

    def finish(self, receipt: Receipt) -> bytes:
        """Return the closing frames of a stream that ended well, or at a limit."""
        frames: list[bytes] = []
        self._begin(frames)
        self._end_output(frames, "incomplete" if self._outputs.cut else "completed")
        response = ended_response(self._begun, self._outputs, receipt)
        frames.append(self._frame(f"response.{response['status']}", response=response))
        return b"".join(frames)

    def fail(self, error: TollgateError) -> bytes:
        """Return the closing frames of a stream that broke: the response has failed."""
        frames: list[bytes] = []
        self._begin(frames)
        message = clean(error.message)
        frames.append(self._frame("error", code="server_error", message=message, param=None))
        response = {
            **self._begun,
            "status": "failed",
            "error": {"code": "server_error", "message": message},
            "output": [output.render("incomplete") for output in self._outputs.all],
        }
        frames.append(self._frame("response.failed", response=response))
        return b"".join(frames)

    def _begin(self, frames: list[bytes]) -> None:
        if self._number == 0:
            frames.append(self._frame("response.created", response=self._begun))
            frames.append(self._frame("response.in_progress", response=self._begun))

    def _begin_output(self, output: Output, frames: list[bytes]) -> None:
        self._open = output
        begun = output.render("in_progress")
        frames.append(
            self._frame("response.output_item.added", output_index=output.place, item=begun)
        )
        if output.call is None:
            part = {**output.part(), "text": ""}
            frames.append(self._of_part("response.content_part.added", output, part=part))

    def _end_output(self, frames: list[bytes], status: str = "completed") -> None:
        output, self._open = self._open, None
        if output is None:
            return
        if output.call is not None:
            frames.append(self._said("done", output, arguments=output.text))
        else:
            frames.append(self._said("done", output, text=output.text))
            frames.append(self._of_part("response.content_part.done", output, part=output.part()))
        frames.append(
            self._frame(
                "response.output_item.done", output_index=output.place, item=output.render(status)
            )
        )

    def _said(self, ending: str, output: Output, **fields: Any) -> bytes:
        kind = f"response.{_NAMES[output.kind]}.{ending}"
        if output.kind == "message":
            fields["logprobs"] = []
        if output.call is not None:
            return self._frame(kind, item_id=output.output_id, output_index=output.place, **fields)
        return self._of_part(kind, output, **fields)

    def _of_part(self, kind: str, output: Output, **fields: Any) -> bytes:
        return self._frame(
            kind, item_id=output.output_id, output_index=output.place, content_index=0, **fields
        )

    def _frame(self, kind: str, **fields: Any) -> bytes:
        body = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(body))

"""The calls of a streamed answer, one at a time: other dialects say each from its start to its end.

1. A call starts and is said as its pieces come.
2. What comes while it is not whole waits: another call with its pieces, or text.
3. Once its arguments are an object, or at the end, what waits is said in the order it began.
"""

from dataclasses import dataclass, field

import orjson

from gateway.chat import StreamEvent, ToolCallDelta, ToolCallStarted
from gateway.dialects.arguments import check_arguments
from gateway.tokenizer import count_tokens
from kernel.errors import UpstreamError

# Whether a call is whole is read from all of it: seldom, or a long one would cost its square.
_MOST_LOOKS = 64


@dataclass(slots=True)
class _Call:
    """One call. ``is_said`` once nothing more may be added."""

    started: ToolCallStarted
    pieces: list[str] = field(default_factory=list)
    looks: int = 0
    is_said: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    def is_whole(self) -> bool:
        is_likely = self.pieces and self.pieces[-1].rstrip().endswith("}")
        if not is_likely or self.looks == _MOST_LOOKS:
            return False
        self.looks += 1
        try:
            return isinstance(orjson.loads(self.arguments), dict)
        except ValueError:
            return False

    def said(self, arguments: str) -> ToolCallDelta:
        return ToolCallDelta(0, self.started.index, arguments, count_tokens(arguments))


class CallOrder:
    """Puts calls, and what is said between them, one after the other."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._numbered: dict[int, _Call] = {}
        self._open: _Call | None = None
        self._waiting: list[_Call | StreamEvent] = []

    def __len__(self) -> int:
        return len(self._calls)

    def knows(self, index: object, call_id: str, name: str) -> bool:
        """Tell whether a call has begun.

        Some servers give all calls one number, and each its id and name; others give every piece of
        a call another id.
        """
        call = self._numbered.get(index) if type(index) is int else None
        if call is None:
            return False
        return not (call_id and name) or call_id == call.started.call_id

    def say(self, event: StreamEvent, events: list[StreamEvent]) -> None:
        """Say what is no call, or let it wait."""
        if self._is_busy():
            self._waiting.append(event)
        else:
            events.append(event)

    def start(self, index: int, call_id: str, name: str, events: list[StreamEvent]) -> None:
        """Begin a call that the upstream numbers ``index``."""
        started = ToolCallStarted(0, len(self._calls), call_id, name, count_tokens(name))
        call = self._numbered[index] = _Call(started)
        self._calls.append(call)
        if self._is_busy():
            self._waiting.append(call)
        else:
            self._begin(call, events)

    def add(self, index: int, arguments: str, events: list[StreamEvent]) -> None:
        """Add a piece to a call.

        Raises:
            UpstreamError: for one that was whole.

        """
        call = self._numbered[index]
        if call.is_said:
            if arguments.strip():
                raise UpstreamError("The model's provider called a tool with broken arguments.")
            return
        call.pieces.append(arguments)
        if call is self._open:
            events.append(call.said(arguments))
            while self._waiting and not self._is_busy():
                self._say_next(events)

    def end(self, events: list[StreamEvent]) -> None:
        """Say what waits: no more pieces will come."""
        self._open = None
        while self._waiting:
            self._say_next(events)

    def check(self) -> None:
        """Check the arguments of all calls; raises what ``check_arguments`` raises."""
        for call in self._calls:
            check_arguments(call.arguments)

    def _is_busy(self) -> bool:
        if self._open is not None and self._open.is_whole():
            self._open.is_said = True
            self._open = None
        return self._open is not None

    def _say_next(self, events: list[StreamEvent]) -> None:
        following = self._waiting.pop(0)
        if isinstance(following, _Call):
            self._begin(following, events)
        else:
            events.append(following)

    def _begin(self, call: _Call, events: list[StreamEvent]) -> None:
        self._open = call
        events.append(call.started)
        if arguments := call.arguments:
            events.append(call.said(arguments))

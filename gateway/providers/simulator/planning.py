"""The whole answer, before the first word leaves. Pure.

1. What the model would say: calls of tools, JSON, or prose; it hangs on ``fingerprint`` and on the
   number of the choice alone.
2. What of it may be said: cut at ``max_tokens``, then before the first stop sequence to be
   complete. Since the answer is known as a whole, no part of one can slip out in a stream.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from billing.usage import Usage
from gateway.chat import ChatRequest, FormatKind, StopReason
from gateway.providers.simulator.calls import choose_calls
from gateway.providers.simulator.dice import Dice, fingerprint
from gateway.providers.simulator.json_text import write_json
from gateway.providers.simulator.prose import write_prose
from gateway.tokenizer import count_prompt, split_tokens

_CHOICE_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """A call of a tool; each piece is a token. ``arguments`` may be cut short by the limit."""

    name: str
    name_tokens: int
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SimulatedChoice:
    """One choice: the tokens of its text, or its calls, and why it ended."""

    pieces: tuple[str, ...]
    calls: tuple[SimulatedCall, ...]
    reason: StopReason

    @property
    def tokens(self) -> int:
        return len(self.pieces) + sum(call.name_tokens + len(call.arguments) for call in self.calls)


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """All choices and what they come to: the prompt once, the completions of all."""

    choices: tuple[SimulatedChoice, ...]
    usage: Usage


def plan(request: ChatRequest) -> SimulatedAnswer:
    """Return the answer to a request: the same for the same request.

    Raises:
        BadRequestError: a schema that no value satisfies, or none this simulator finds.

    """
    return add_up(request, tuple(plan_choices(request)))


def add_up(request: ChatRequest, choices: tuple[SimulatedChoice, ...]) -> SimulatedAnswer:
    """Return the answer that these choices make."""
    output = sum(choice.tokens for choice in choices)
    return SimulatedAnswer(choices, Usage(input=count_prompt(request), output=output, request=1))


def plan_choices(request: ChatRequest) -> Iterator[SimulatedChoice]:
    """Yield the choices one by one, for callers that must not work long at a stretch."""
    start = fingerprint(request)
    for number in range(request.n):
        yield _plan_choice(request, Dice(start + number * _CHOICE_STEP))


def _plan_choice(request: ChatRequest, dice: Dice) -> SimulatedChoice:
    calls = choose_calls(request, dice)
    if calls:
        return _cut_calls(calls, request.max_tokens)
    if request.response_format.kind is FormatKind.TEXT:
        return _cut_text(write_prose(request, dice), request)
    return _cut_text(write_json(request, dice), request)


def _cut_text(text: str, request: ChatRequest) -> SimulatedChoice:
    pieces = split_tokens(text)
    reason = StopReason.END
    limit = request.max_tokens
    if limit is not None and limit < len(pieces):
        del pieces[limit:]
        reason = StopReason.LENGTH
    if request.stop:
        shown = "".join(pieces)
        end = find_stop(shown, request.stop)
        if end is not None:
            pieces = split_tokens(shown[:end])
            reason = StopReason.STOP_SEQUENCE
    return SimulatedChoice(tuple(pieces), (), reason)


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return where to cut, so that what is left contains no stop sequence.

    It is the start of the one that is complete first, of the longest where several are.
    """
    ends = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    return min(ends)[1] if ends else None


def _cut_calls(calls: Sequence[tuple[str, str]], limit: int | None) -> SimulatedChoice:
    """Make the calls as far as the limit allows; stop sequences do not concern them."""
    made: list[SimulatedCall] = []
    left = limit
    for name, arguments in calls:
        name_tokens = len(split_tokens(name))
        pieces = split_tokens(arguments)
        if left is not None:
            if left < name_tokens:
                return SimulatedChoice((), tuple(made), StopReason.LENGTH)
            left -= name_tokens
            if left < len(pieces):
                made.append(SimulatedCall(name, name_tokens, tuple(pieces[:left])))
                return SimulatedChoice((), tuple(made), StopReason.LENGTH)
            left -= len(pieces)
        made.append(SimulatedCall(name, name_tokens, tuple(pieces)))
    return SimulatedChoice((), tuple(made), StopReason.TOOL_CALLS)

"""The whole answer, before the first word leaves. Pure.

1. What the model would say: calls of tools, JSON, or prose; it hangs on ``fingerprint`` and on the
   number of the choice alone.
2. What of it may be said: cut at ``max_tokens``, then before the first stop sequence to be
   complete. Since the answer is known as a whole, no part of one can slip out in a stream.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from billing.usage import Usage
from gateway.chat import ChatRequest, FormatKind, StopReason
from gateway.providers.simulator.calls import choose_calls
from gateway.providers.simulator.dice import Dice, fingerprint
from gateway.providers.simulator.json_text import write_json
from gateway.providers.simulator.prefill import go_on, go_on_in_json, split_prefill
from gateway.providers.simulator.prose import write_prose, write_thoughts
from gateway.providers.stops import find_stop
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
    """One choice: the tokens of its thinking, those of its text or its calls, why it ended."""

    pieces: tuple[str, ...]
    calls: tuple[SimulatedCall, ...]
    reason: StopReason
    stop_sequence: str | None = None
    thoughts: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """What it comes to without the thinking."""
        return len(self.pieces) + sum(call.name_tokens + len(call.arguments) for call in self.calls)


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """All choices and what they come to: the prompt once, the completions of all.

    ``call_prefix`` is how the ids of its calls begin; ``top_logprobs`` asks for odds of its tokens.
    """

    choices: tuple[SimulatedChoice, ...]
    usage: Usage
    call_prefix: str
    top_logprobs: int | None = None


def plan(request: ChatRequest) -> SimulatedAnswer:
    """Return the answer to a request: the same for the same request.

    Raises:
        BadRequestError: a schema that no value satisfies, or none this simulator finds.

    """
    return add_up(request, tuple(plan_choices(request)))


def add_up(request: ChatRequest, choices: tuple[SimulatedChoice, ...]) -> SimulatedAnswer:
    """Return the answer that these choices make."""
    output = sum(choice.tokens for choice in choices)
    thought = sum(len(choice.thoughts) for choice in choices)
    usage = Usage(input=count_prompt(request), output=output, reasoning=thought, request=1)
    return SimulatedAnswer(choices, usage, request.call_prefix, request.top_logprobs)


def plan_choices(request: ChatRequest) -> Iterator[SimulatedChoice]:
    """Yield the choices one by one, for callers that must not work long at a stretch."""
    start = fingerprint(request)
    request, prefill = split_prefill(request)
    for number in range(request.n):
        yield _plan_choice(request, prefill, Dice(start + number * _CHOICE_STEP))


def _plan_choice(request: ChatRequest, prefill: str, dice: Dice) -> SimulatedChoice:
    limit = request.max_tokens
    if not request.is_thinking:
        return _plan_words(request, prefill, dice, limit)
    thoughts = tuple(split_tokens(write_thoughts(request)))
    if limit is not None and len(thoughts) >= limit:
        return SimulatedChoice((), (), StopReason.LENGTH, thoughts=thoughts[:limit])
    left = None if limit is None else limit - len(thoughts)
    return replace(_plan_words(request, prefill, dice, left), thoughts=thoughts)


def _plan_words(
    request: ChatRequest, prefill: str, dice: Dice, limit: int | None
) -> SimulatedChoice:
    calls = choose_calls(request, dice)
    if calls:
        return _cut_calls(calls, limit)
    return _cut_text(_write(request, prefill, dice), request.stop, limit)


def _write(request: ChatRequest, prefill: str, dice: Dice) -> str:
    if request.response_format.kind is not FormatKind.TEXT:
        return write_json(request, dice)  # whole, since what is said has to keep to the form
    if not prefill:
        return write_prose(request, dice)
    rest = go_on_in_json(prefill, write_json(request, dice))
    return go_on(prefill, write_prose(request, dice)) if rest is None else rest


def _cut_text(text: str, stops: Sequence[str], limit: int | None) -> SimulatedChoice:
    pieces = split_tokens(text)
    reason = StopReason.END
    if limit is not None and limit < len(pieces):
        del pieces[limit:]
        reason = StopReason.LENGTH
    if stops:
        shown = "".join(pieces)
        stop = find_stop(shown, stops)
        if stop is not None:
            pieces = split_tokens(shown[: stop.start])
            return SimulatedChoice(tuple(pieces), (), StopReason.STOP_SEQUENCE, stop.text)
    return SimulatedChoice(tuple(pieces), (), reason)


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

"""The messages of a request, in three steps.

1. ``_gather``: wires become turns; neighbours of the same role are one turn.
2. ``_check_tools``: every result answers a call of the turn before it, every call has its result.
3. ``_render_turn``: a turn becomes neutral messages; a user's turn splits into tool results and the
   rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.chat import Media, Message, Part, Thought, ToolCall
from gateway.dialects.anthropic import blocks, fields
from gateway.dialects.anthropic.blocks import Block, Result
from gateway.dialects.anthropic.fields import refusal, shown

MOST_MESSAGES = 100_000
_ROLE = fields.one_of("user", "assistant", "system")


@dataclass(slots=True)
class _Turn:
    """What one side says without a break; blocks stand beside the path they had."""

    role: str
    blocks: list[tuple[str, Block]] = field(default_factory=list)


def parse_system(system: Any) -> tuple[Message, ...]:
    """Check ``system``: a string or text blocks; one message, or none for nothing.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    if system is None or system in ("", []):
        return ()
    return (Message("system", "\n\n".join(blocks.parse_texts(system, "system"))),)


def parse_messages(wires: Sequence[Any]) -> tuple[Message, ...]:
    """Check the messages and return them in order.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    if len(wires) > MOST_MESSAGES:
        raise refusal("messages", f"at most {MOST_MESSAGES} messages are allowed")
    turns = _gather(wires)
    _check_tools(turns)
    return tuple([message for turn in turns for message in _render_turn(turn)])


def _gather(wires: Sequence[Any]) -> list[_Turn]:
    turns: list[_Turn] = []
    for place, wire in enumerate(wires):
        path = f"messages.{place}"
        fields.mapping(path, wire)
        role = fields.required(wire, "role", path, _ROLE)
        content = fields.required(wire, "content", path, fields.any_value)
        may_be_empty = role == "assistant" and place == len(wires) - 1
        said = blocks.parse_content(
            content, f"{path}.content", role=role, may_be_empty=may_be_empty
        )
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
        turns[-1].blocks += said
    return turns


def _check_tools(turns: Sequence[_Turn]) -> None:
    known: set[str] = set()
    waiting: dict[str, str] = {}
    for turn in turns:
        answered = set()
        for path, block in turn.blocks:
            if isinstance(block, Result):
                if block.call_id not in waiting or block.call_id in answered:
                    raise refusal(
                        f"{path}.tool_use_id",
                        f"'{shown(block.call_id)}' is not the id of a 'tool_use' block in the "
                        "message before that still waits for its 'tool_result'",
                    )
                answered.add(block.call_id)
        _check_answered({call: path for call, path in waiting.items() if call not in answered})
        waiting = {}
        for path, block in turn.blocks:
            if isinstance(block, ToolCall):
                if block.call_id in known:
                    raise refusal(f"{path}.id", "`tool_use` ids must be unique")
                known.add(block.call_id)
                waiting[block.call_id] = path
    _check_answered(waiting)


def _check_answered(unanswered: dict[str, str]) -> None:
    for call_id, path in unanswered.items():
        raise refusal(
            path,
            f"the `tool_use` '{shown(call_id)}' needs a `tool_result` block in the message right "
            "after it",
        )


def _render_turn(turn: _Turn) -> Iterable[Message]:
    said = [block for _, block in turn.blocks]
    if turn.role == "assistant":
        yield Message(
            "assistant",
            _join(block for block in said if isinstance(block, str)),
            tool_calls=tuple(block for block in said if isinstance(block, ToolCall)),
            thoughts=tuple(block for block in said if isinstance(block, Thought)),
        )
        return
    parts = tuple(block for block in said if isinstance(block, str | Media))
    for block in said:
        if isinstance(block, Result):
            yield _with_parts("tool", block.parts, block)
    if parts or turn.role == "system":
        yield _with_parts(turn.role, parts)


def _with_parts(role: str, parts: tuple[Part, ...], result: Result | None = None) -> Message:
    media = tuple(part for part in parts if isinstance(part, Media))
    return Message(
        role,
        _join(part for part in parts if isinstance(part, str)),
        tool_call_id=None if result is None else result.call_id,
        media=media,
        parts=parts if media else (),
        is_error=result is not None and result.is_error,
    )


def _join(texts: Iterable[str]) -> str:
    return "\n".join(texts)

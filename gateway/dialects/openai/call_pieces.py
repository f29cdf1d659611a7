"""The tool calls of one choice that passes through, piece by piece: numbered, and named once. Pure.

1. A piece begins a call where its number is new, or where it says a name and another id under one
   that is known: some servers give all calls one number. Of pieces without a number a name does.
2. Calls go out under numbers of ours, which count from 0.
3. Later pieces of a call have neither id nor type nor the same name again: clients join strings.
"""

from dataclasses import dataclass
from typing import Any

from gateway.dialects.openai.spoken import objects_in


@dataclass(slots=True)
class _Begun:
    """What a call has said of itself by now."""

    call_id: object
    name: object

    def is_told_from(self, call_id: object) -> bool:
        return bool(self.call_id and call_id) and self.call_id != call_id


class CallPieces:
    """What is known of a choice's calls; ``_numbers`` is ours by theirs."""

    __slots__ = ("_calls", "_numbers")

    def __init__(self) -> None:
        self._calls: list[_Begun] = []
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def mend(self, pieces: object) -> bool:
        """Bring pieces into the contract's form; tell whether anything was changed."""
        mended = [self._mend(piece) for piece in objects_in(pieces)]
        return any(mended)

    def _mend(self, piece: dict[str, Any]) -> bool:
        said = piece.get("function")
        function = said if isinstance(said, dict) else {}
        call_id, name, theirs = piece.get("id"), function.get("name"), piece.get("index")
        number = self._find(theirs, call_id, name)
        is_mended = type(theirs) is not int or theirs != number
        piece["index"] = number
        if number == len(self._calls):
            self._calls.append(_Begun(call_id, name))
            return is_mended
        if said is not function:
            piece["function"] = function = {"arguments": ""}
            is_mended = True
        return _leave_out(piece, function, self._calls[number]) or is_mended

    def _find(self, theirs: object, call_id: object, name: object) -> int:
        """Return our number of the call a piece belongs to, the next one where it begins one."""
        following = len(self._calls)
        if type(theirs) is not int:
            return following if name else max(following - 1, 0)
        known = self._numbers.get(theirs)
        if known is None or (name and self._calls[known].is_told_from(call_id)):
            self._numbers[theirs] = following
            return following
        return known


def _leave_out(piece: dict[str, Any], function: dict[str, Any], call: _Begun) -> bool:
    """Leave out what a call has said of itself; tell whether that was anything."""
    size = len(piece) + len(function)
    if call.call_id or not piece.get("id"):
        piece.pop("id", None)
    call.call_id = call.call_id or piece.get("id")
    if not function.get("name") or function["name"] == call.name:
        function.pop("name", None)
    call.name = call.name or function.get("name")
    piece.pop("type", None)
    return len(piece) + len(function) != size

"""What a call came to, as its answer says it: cost and evidence beside the dialect's figures. Pure.

The cost is a JSON number with the digits of the exact decimal; no float is made of it here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from billing.usage import Evidence, Usage
from kernel.money import Nanos, render_usd

_PARTS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_OPENS_OBJECT = re.compile(rb"\s*:\s*(?=\{)")
_DEPTH: Mapping[bytes, int] = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


@dataclass(frozen=True, slots=True)
class Receipt:
    """``cost_nanos`` is exactly what is settled: the charge, and never more than was held.

    ``remarks`` say what else there is to know of how the call was served.
    """

    usage: Usage
    cost_nanos: Nanos
    evidence: Evidence
    remarks: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Return what stands in every dialect's usage object."""
        return {
            "cost": orjson.Fragment(render_number(self.cost_nanos)),
            "x_tollgate": {"evidence": self.evidence.value, **self.remarks},
        }

    def stamp(self, reported: object, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return a provider's usage object with ours beside it; ``own`` where it is not charged."""
        if self.evidence is Evidence.PROVIDER and isinstance(reported, dict):
            return {**reported, **self.fields()}
        return {**own, **self.fields()}


def render_number(nanos: Nanos) -> str:
    """Write nanos as a JSON number of dollars: every digit, no exponent, no needless zeros."""
    return render_usd(nanos).rstrip("0").rstrip(".")


def replace_usage(frame: bytes, usage: Mapping[str, Any]) -> bytes:
    """Put ``usage`` in place of a frame's own usage object; every other byte stays.

    The frame holds one JSON object that is known to read well; without usage it stays as it is.
    """
    depth, start = 0, -1
    for part in _PARTS.finditer(frame, frame.find(b"{")):
        if start < 0 and depth == 1 and part[0] == b'"usage"':
            opens = _OPENS_OBJECT.match(frame, part.end())
            start = -1 if opens is None else opens.end()
        depth += _DEPTH.get(part[0], 0)
        if start >= 0 and depth == 1 and part[0] == b"}":
            return frame[:start] + orjson.dumps(usage) + frame[part.end() :]
    return frame

"""What a call came to, as its answer says it: cost and evidence beside the dialect's figures. Pure.

The cost is a JSON number with the digits of the exact decimal; no float is made of it here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from billing.usage import Evidence, Usage
from gateway.dialects.upstream_json import write_object
from kernel.errors import UpstreamError
from kernel.money import Nanos, render_usd


class Receipt(NamedTuple):
    """``cost_nanos`` is exactly what is settled: the charge, and never more than was held.

    ``remarks`` say what else there is to know of how the call was served.
    """

    usage: Usage
    cost_nanos: Nanos
    evidence: Evidence
    remarks: Mapping[str, str] = MappingProxyType({})

    def fields(self) -> dict[str, Any]:
        """Return what stands in every dialect's usage object."""
        return {
            "cost": orjson.Fragment(render_number(self.cost_nanos)),
            "x_tollgate": {"evidence": self.evidence.value, **self.remarks},
        }

    def write(self, reported: object, render: Callable[[Usage], Mapping[str, Any]]) -> bytes:
        """Return a provider's usage object with ours beside it.

        What ``render`` makes of ours stands where a figure is missing; it takes the whole place
        where the provider's is not charged, and where that cannot be written again.
        """
        fields, own = self.fields(), render(self.usage)
        shown = reported if self.evidence is Evidence.PROVIDER else None
        figures = shown.items() if isinstance(shown, dict) else ()
        rest = {name: value for name, value in figures if name not in fields}
        try:
            head = write_object(_fill(rest, own))
        except UpstreamError:
            head = write_object(own)
        return b"%b,%b" % (head[:-1], orjson.dumps(fields)[1:])


def _fill(figures: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put our figures where none is, in the details too."""
    for name, value in own.items():
        theirs = figures.get(name)
        if theirs is None:
            figures[name] = value
        elif isinstance(value, dict) and isinstance(theirs, dict):
            figures[name] = {**value, **theirs}
    return figures


def render_number(nanos: Nanos) -> str:
    """Write nanos as a JSON number of dollars: every digit, no exponent, no needless zeros."""
    return render_usd(nanos).rstrip("0").rstrip(".")

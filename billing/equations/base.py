"""What an equation is."""

from dataclasses import dataclass
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class Equation:
    """``query`` returns (what, left, right) for every row where the two sides differ."""

    number: str
    promise: str
    query: LiteralString

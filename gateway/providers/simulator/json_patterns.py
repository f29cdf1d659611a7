"""The shortest plain text a regular expression matches, for the expressions schemas use.

Reads literals, classes, groups, alternatives, repetitions and anchors at the ends; the first
alternative and the least repetition are taken. Anything else is refused rather than guessed.
"""

import re

MOST_PATTERN_LENGTH = 512
MOST_TEXT_LENGTH = 4096
_MOST_GROUPS = 32
_REPEAT = re.compile(r"\{(\d{1,4})(?:,\d{0,4})?\}")
_ESCAPES = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a", "t": "\t", "n": "\n"}


class PatternError(Exception):
    """A part of the expression this does not read."""


def write_match(pattern: str) -> str:
    """Return a text the pattern matches.

    Raises:
        PatternError: look-around, back references, and whatever else is not read here.

    """
    if len(pattern) > MOST_PATTERN_LENGTH:
        raise PatternError
    reader = _Reader(pattern)
    text = reader.alternatives(_MOST_GROUPS)
    if reader.rest:
        raise PatternError
    return text


class _Reader:
    """Walks through a pattern once and writes as it reads."""

    def __init__(self, pattern: str) -> None:
        self.rest = pattern

    def alternatives(self, levels: int) -> str:
        if levels == 0:
            raise PatternError
        first = self._sequence(levels)
        while self.rest.startswith("|"):
            self.rest = self.rest[1:]
            self._sequence(levels)
        return first

    def _sequence(self, levels: int) -> str:
        self.rest = self.rest.removeprefix("^")
        text = ""
        while self.rest and self.rest[0] not in "|)":
            if self.rest[0] == "$":
                self.rest = self.rest[1:]
                if self.rest and self.rest[0] not in "|)":
                    raise PatternError
                break
            text += self._atom(levels) * self._repetitions()
            if len(text) > MOST_TEXT_LENGTH:
                raise PatternError
        return text

    def _take(self) -> str:
        if not self.rest:
            raise PatternError
        taken, self.rest = self.rest[0], self.rest[1:]
        return taken

    def _atom(self, levels: int) -> str:
        sign = self._take()
        match sign:
            case "(":
                return self._group(levels)
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case ".":
                return "a"
            case "^" | "*" | "+" | "?" | "{":
                raise PatternError
            case _:
                return sign

    def _group(self, levels: int) -> str:
        if self.rest.startswith("?"):
            if not self.rest.startswith("?:"):
                raise PatternError
            self.rest = self.rest[2:]
        text = self.alternatives(levels - 1)
        if self._take() != ")":
            raise PatternError
        return text

    def _escape(self) -> str:
        sign = self._take()
        if sign in _ESCAPES:
            return _ESCAPES[sign]
        if sign.isalnum():
            raise PatternError
        return sign

    def _class(self) -> str:
        """Return the first member; a class of what must not be is not read."""
        if self.rest.startswith("^"):
            raise PatternError
        sign = self._take()
        first = self._escape() if sign == "\\" else sign
        while True:
            sign = self._take()
            if sign == "\\":
                self._take()
            elif sign == "]":
                return first

    def _repetitions(self) -> int:
        least = 1
        if self.rest[:1] in ("*", "+", "?") and self.rest:
            least = 1 if self._take() == "+" else 0
        else:
            found = _REPEAT.match(self.rest)
            if found is None:
                return 1
            self.rest = self.rest[found.end() :]
            least = int(found[1])
        self.rest = self.rest.removeprefix("?")
        return least

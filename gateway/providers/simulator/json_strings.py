"""Strings for a schema: by format, by pattern, by the property's name, else words."""

from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.json_patterns import PatternError, write_match
from gateway.providers.simulator.json_schemas import Schema

MOST_LENGTH = 4096
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor")
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "hostname": "example.com",
    "idn-email": "ada@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "json-pointer": "/items/0",
    "regex": "^[a-z]+$",
    "time": "09:30:00Z",
    "uri": "https://example.com/",
    "uri-reference": "/items",
    "url": "https://example.com/",
    "uuid": "2f1c9d6e-7b3a-4c58-9e0f-1a2b3c4d5e6f",
}
_NAMED = {
    "answer": "This is a simulated answer.",
    "capital": "Paris",
    "city": "Paris",
    "color": "blue",
    "country": "France",
    "currency": "EUR",
    "date": "2026-01-15",
    "description": "A short simulated text.",
    "email": "ada@example.com",
    "location": "Paris",
    "name": "Ada Lovelace",
    "summary": "A short simulated summary.",
    "title": "A Quiet Morning",
    "unit": "celsius",
    "url": "https://example.com/",
}


def make_string(schema: Schema, name: str, dice: Dice, *, offered: str | None) -> str | None:
    """Return a string that keeps to length, pattern and format, or None where none is found.

    A pattern is never matched, only written: a hostile one costs no more than its own length.
    """
    least = schema.get("minLength", 0)
    most = schema.get("maxLength", MOST_LENGTH)
    if least > min(most, MOST_LENGTH):
        return None
    if "pattern" in schema:
        text = _from_pattern(schema["pattern"])
    elif schema.get("format") in _FORMATS:
        text = _FORMATS[schema["format"]]
    else:
        return _of_length(offered or _NAMED.get(name) or dice.pick(_WORDS), least, most, dice)
    return text if text is not None and least <= len(text) <= most else None


def _from_pattern(pattern: str) -> str | None:
    try:
        return write_match(pattern)
    except PatternError:
        return None


def _of_length(text: str, least: int, most: int, dice: Dice) -> str:
    while len(text) < least:
        text += " " + dice.pick(_WORDS)
    return text[:most]

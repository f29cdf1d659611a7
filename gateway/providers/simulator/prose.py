"""Prose: a plain reply where one comes to mind, else a story or an explanation from set pieces."""

import re

from gateway.chat import ChatRequest
from gateway.providers.simulator import words
from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.replies import MOST_LOOKED_AT, last_user_text, reply_plainly

_STORY = re.compile(r"\b(?:story|tale|once upon)\b", re.IGNORECASE)
_LONG = re.compile(r"\b(?:long|detailed|essay|article|in depth|thorough)\b", re.IGNORECASE)
_SUBJECT = re.compile(
    r"\b(?:about|explain|describe|what (?:is|are)|how (?:do|does|can) (?:i|you|we|it)|define)\s+"
    r"(?:the |a |an )?([\w' -]{2,60}?)(?: in (?:simple|plain|a few) \w+)?\s*[.?!]*$",
    re.IGNORECASE,
)
_MOST_QUOTED = 200
_MEDIA_WORDS = (
    ("image", "image"),
    ("video", "video"),
    ("audio", "recording"),
    ("document", "document"),
)


def write_prose(request: ChatRequest, dice: Dice) -> str:
    """Return the text of an answer, at most some hundred tokens."""
    last = request.messages[-1]
    if last.role in ("tool", "function"):
        return _report(last.text)
    if last.media:
        return _acknowledge(request)
    plain = reply_plainly(request, dice)
    if plain is not None:
        return plain
    text = last_user_text(request)[:MOST_LOOKED_AT]
    is_long = _LONG.search(text) is not None
    if _STORY.search(text):
        return _tell_story(dice, is_long=is_long)
    return _explain(text, dice, is_long=is_long)


def write_thoughts(request: ChatRequest) -> str:
    """Return what the simulator says it thinks: honest, and short enough for every budget."""
    asked = " ".join(last_user_text(request)[:MOST_LOOKED_AT].split())[:_MOST_QUOTED]
    return (
        f'The last message says: "{asked}". I look for a plain reply first, and write from set '
        "pieces where none comes to mind."
    )


def _report(result: str) -> str:
    shown = " ".join(result[: 4 * _MOST_QUOTED].split())
    if len(shown) > _MOST_QUOTED:
        shown = shown[:_MOST_QUOTED].rstrip() + "…"
    if not shown:
        return "The tool has answered, but its result is empty."
    return f"Here is what I found: {shown}"


def _acknowledge(request: ChatRequest) -> str:
    kinds = [media.kind for message in request.messages for media in message.media]
    counts = [
        f"{kinds.count(kind)} {word}{'s' if kinds.count(kind) > 1 else ''}"
        for kind, word in _MEDIA_WORDS
        if kind in kinds
    ]
    return (
        f"I have received {' and '.join(counts)}. I am a simulator and cannot look inside, "
        "but everything you sent has been read and counted."
    )


def _tell_story(dice: Dice, *, is_long: bool) -> str:
    sentences = [dice.pick(words.OPENINGS).format(hero=dice.pick(words.HEROES))]
    sentences += _several(words.TURNS, 7 if is_long else 3 + dice.roll(3), dice)
    sentences.append(dice.pick(words.ENDINGS))
    return " ".join(sentences)


def _explain(text: str, dice: Dice, *, is_long: bool) -> str:
    found = _SUBJECT.search(text)
    subject = found[1].strip() if found else "your question"
    lead = dice.pick(words.LEADS).format(subject=subject, Subject=subject[:1].upper() + subject[1:])
    if not is_long:
        points = _several(words.POINTS, 3 + dice.roll(2), dice)
        return " ".join((lead, *points, dice.pick(words.CLOSINGS)))
    paragraphs = [lead] + [" ".join(_several(words.POINTS, 7, dice)) for _ in range(5)]
    return "\n\n".join((*paragraphs, dice.pick(words.CLOSINGS)))


def _several(sentences: tuple[str, ...], count: int, dice: Dice) -> list[str]:
    """Return ``count`` different sentences: a walk around the table by a step prime to its size."""
    start = dice.roll(len(sentences))
    step = dice.pick((1, 5, 7, 11))
    return [sentences[(start + step * place) % len(sentences)] for place in range(count)]

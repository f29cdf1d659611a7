"""Plain answers to requests that are easily recognised, so that a first try looks sane.

Each function takes the last user text and returns an answer or None. Texts longer than a line of
talk are not looked at: these are courtesies, not understanding.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from gateway.chat import ChatRequest
from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.words import CAPITALS, GREETINGS, HAIKU, HELLOS, JOKES, LISTS

MOST_LOOKED_AT = 900
MOST_COUNTED = 200
_NUMBER = r"-?\d{1,12}(?:\.\d{1,6})?"
_SUM = re.compile(rf"({_NUMBER}) ?([-+*/x×÷]) ?({_NUMBER})")  # signs people type
_ASKS_FOR_SUM = re.compile(
    r"(?:(?:and )?what(?:'s| is| about| does)?|how much is|calculate|compute|solve|add)?[\s:]*",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"capital (?:city )?of (?:the )?([a-z ]{3,20}[a-z])", re.IGNORECASE)
_AND_OF = re.compile(
    r"^(?:and )?(?:what|how) about (?:the )?([a-z ]{3,20}[a-z])\W*$", re.IGNORECASE
)
_COUNT = re.compile(r"\bcount (?:from (\d{1,6}) )?(?:up )?to (\d{1,6})\b", re.IGNORECASE)
_HELLO_WORDS = re.compile(
    r"\bsay (?:hello|hi)(?:.{0,20}?\b(\d|one|two|three|four|five) words?)?", re.IGNORECASE
)
_REPEAT = re.compile(
    r"^(?:repeat|echo)(?: after me| exactly| this)?: ?(.+)", re.IGNORECASE | re.DOTALL
)
_SAY = re.compile(r"^say:? (this is .+|[\"“].+[\"”])$", re.IGNORECASE)
_GREETING = re.compile(r"^(?:hello|hi|hey|good (?:morning|day|evening))\b", re.IGNORECASE)
_LIST = re.compile(
    r"\b(\d|one|two|three|four|five|six|seven|eight) ([a-z]+)(?: ([a-z]+))?", re.IGNORECASE
)
_WORDS_FOR_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
}  # fmt: skip


def last_user_text(request: ChatRequest) -> str:
    """Return what the user said last, or nothing."""
    for message in reversed(request.messages):
        if message.role == "user":
            return message.text
    return ""


def reply_plainly(request: ChatRequest, dice: Dice) -> str | None:
    """Return a plain answer to the last user text, None where none comes to mind."""
    text = last_user_text(request).strip()
    if not text or len(text) > MOST_LOOKED_AT:
        return None
    for reply in _REPLIES:
        answer = reply(text, dice)
        if answer is not None:
            return answer
    return _capital_again(request, text)


def _repeat(text: str, _dice: Dice) -> str | None:
    found = _REPEAT.search(text)
    return found[1] if found else None


def _say(text: str, _dice: Dice) -> str | None:
    found = _SAY.search(text)
    if found is None:
        return None
    words = found[1].strip('"“”.')
    return f"{words[:1].upper()}{words[1:]}."


def _sum(text: str, _dice: Dice) -> str | None:
    found = _SUM.search(text)
    if found is None or not _ASKS_FOR_SUM.fullmatch(text[: found.start()]):
        return None
    if re.search(r"\w", text[found.end() :]):
        return None
    left, right = Fraction(found[1]), Fraction(found[3])
    match found[2]:
        case "+":
            value = left + right
        case "-":
            value = left - right
        case "/" | "÷":
            if right == 0:
                return "A number cannot be divided by zero."
            value = left / right
        case _:
            value = left * right
    return f"{found[0]} equals {_written(value)}."


def _written(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.6g}"


def _capital(text: str, _dice: Dice) -> str | None:
    found = _CAPITAL.search(text)
    return _name_capital(found[1]) if found else None


def _capital_again(request: ChatRequest, text: str) -> str | None:
    found = _AND_OF.match(text)
    if found is None or not any("capital" in message.text for message in request.messages):
        return None
    return _name_capital(found[1])


def _name_capital(country: str) -> str | None:
    capital = CAPITALS.get(country.strip().lower())
    if capital is None:
        return None
    name = country.strip()
    name = name.title() if name.islower() else name
    return f"The capital of {name} is {capital}{'' if capital.endswith('.') else '.'}"


def _count(text: str, _dice: Dice) -> str | None:
    found = _COUNT.search(text)
    if found is None:
        return None
    first, last = int(found[1] or 1), int(found[2])
    step = 1 if first <= last else -1
    numbers = range(first, last + step, step)
    if len(numbers) > MOST_COUNTED:
        return None
    return ", ".join(map(str, numbers)) + "."


def _hello(text: str, dice: Dice) -> str | None:
    found = _HELLO_WORDS.search(text)
    if found is None:
        return None
    if found[1] is None:
        return "Hello!"
    greetings = HELLOS.get(_as_number(found[1]))
    return dice.pick(greetings) if greetings else None


def _joke(text: str, dice: Dice) -> str | None:
    return dice.pick(JOKES) if re.search(r"\bjoke\b", text, re.IGNORECASE) else None


def _haiku(text: str, dice: Dice) -> str | None:
    return dice.pick(HAIKU) if re.search(r"\bhaiku\b", text, re.IGNORECASE) else None


def _greeting(text: str, dice: Dice) -> str | None:
    return dice.pick(GREETINGS) if len(text) <= 40 and _GREETING.match(text) else None  # noqa: PLR2004 # a greeting is short


def _list(text: str, _dice: Dice) -> str | None:
    found = find_list(text)
    return None if found is None else ", ".join(found[1]) + "."


def find_list(text: str) -> tuple[str, Sequence[str]] | None:
    """Return the plural noun and the members of a list that is asked for: "list 3 colors"."""
    for found in _LIST.finditer(text[:MOST_LOOKED_AT]):
        for noun in (found[2].lower(), (found[3] or "").lower()):
            words = LISTS.get(noun.removesuffix("s")) or LISTS.get(noun.removesuffix("ies") + "y")
            if words is not None:
                return noun, words[: _as_number(found[1])]
    return None


def _as_number(word: str) -> int:
    return int(word) if word.isdecimal() else _WORDS_FOR_NUMBERS[word.lower()]


_REPLIES: tuple[Callable[[str, Dice], str | None], ...] = (
    _repeat, _say, _sum, _capital, _count, _hello, _joke, _haiku, _list, _greeting,
)  # fmt: skip

"""Going on from a prefill: the beginning of an answer, which callers of messages may write.

It is the last message where that is the assistant's own and says something. In OpenAI's dialects
such a message has ended, and is answered like any other. The answer is what comes after it: what
would have been said anyway, without what stands there already, or the rest of a text in JSON.
"""

import re
from dataclasses import replace

import orjson

from gateway.chat import ChatRequest

_MOST_LOOKED_AT = 10_000
_JSON = re.compile(r"\s*(```(?:json)?\s*)?([\[{].*)", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CLOSERS = {"{": "}", "[": "]"}
_LITERALS = ("true", "false", "null")
_OPENERS = "([“‘>"
_FENCE = "\n```"


def split_prefill(request: ChatRequest) -> tuple[ChatRequest, str]:
    """Return the request without its prefill, and that; empty for none."""
    last = request.messages[-1]
    begins = request.dialect == "anthropic" and last.role == "assistant" and len(last.text) > 0
    if not begins or len(request.messages) == 1:
        return request, ""
    return replace(request, messages=request.messages[:-1]), last.text


def go_on(prefill: str, text: str) -> str:
    """Return what comes after ``prefill`` where ``text`` would be said without it."""
    prefill = prefill[-_MOST_LOOKED_AT:]
    for start in range(len(prefill)):  # what both have in common, at its longest
        is_word = start == 0 or prefill[start - 1].isspace()
        if is_word and text.startswith(prefill[start:]):
            return text[len(prefill) - start :]
    is_apart = prefill[-1].isspace() or prefill[-1] in _OPENERS
    is_over = prefill[-1] == "\n" or prefill.rstrip()[-1:] in ".!?:"
    is_sentence = is_over or text[1:2].isupper() or text[1:2].isspace()
    said = text if is_sentence else text[:1].lower() + text[1:]
    return said if is_apart else f" {said}"


def go_on_in_json(prefill: str, value: str) -> str | None:
    """Return the rest of a text in JSON; None where ``prefill`` does not begin one.

    ``value`` is JSON that would be said without it.
    """
    found = _JSON.fullmatch(prefill) if len(prefill) <= _MOST_LOOKED_AT else None
    if found is None:
        return None
    fence = _FENCE if found[1] else ""
    written = found[2]
    if value.startswith(written):
        return value[len(written) :] + fence
    rest = _finish(written)
    return None if rest is None else rest + fence


def _finish(written: str) -> str | None:
    """Return the shortest rest of JSON that is in form so far, None where it is not."""
    tokens: list[str] = _TOKEN.findall(written)
    closers: list[str] = []
    for token in tokens:
        if token in _CLOSERS:
            closers.append(_CLOSERS[token])
        elif token in ("}", "]") and closers:
            closers.pop()
    before, last = ["", *tokens][-2:]
    in_object = closers[-1:] == ["}"]
    rest = _finish_token(last)
    if in_object and before in ("{", ",") and last[0] == '"':  # a name
        rest += ':"ok"'
    elif last in ("{", "[", ",", ":"):
        rest += '"status":"ok"' if in_object and last != ":" else '"ok"'
    rest += "".join(reversed(closers))
    try:
        orjson.loads((written + rest).encode("utf-8", "replace"))
    except ValueError:
        return None
    return rest


def _finish_token(token: str) -> str:
    """Return the rest of a string, a word or a number that may have been cut."""
    if token[0] == '"':
        if _STRING.fullmatch(token):
            return ""
        is_escaping = (len(token) - len(token.rstrip("\\"))) % 2 == 1
        return 'n"' if is_escaping else '"'
    for literal in _LITERALS:
        if literal.startswith(token):
            return literal[len(token) :]
    return "0" if token[-1] in "-+.eE" else ""

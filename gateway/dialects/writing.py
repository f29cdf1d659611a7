"""Text as JSON and as valid UTF-8, whatever it quotes. Pure."""

import orjson


def dump_text(text: str) -> bytes:
    """Write a JSON string; a lone surrogate becomes a question mark instead of invalid UTF-8."""
    try:
        return orjson.dumps(text)
    except TypeError:
        return orjson.dumps(clean(text))


def clean(text: str) -> str:
    """Replace lone surrogates, which no valid answer can carry."""
    return text.encode("utf-8", "replace").decode()

"""Log probabilities on the wire: one entry a token, whose texts join to the content."""

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.chat import TokenOdds
from gateway.dialects.writing import clean


def render_odds(odds: Iterable[TokenOdds]) -> bytes:
    """Return the ``logprobs`` of a choice or of a chunk of it; null where nothing was said."""
    entries = [
        {**_entry(each), "top_logprobs": [_entry(other) for other in each.top]} for each in odds
    ]
    return orjson.dumps({"content": entries, "refusal": None}) if entries else b"null"


def _entry(odds: TokenOdds) -> dict[str, Any]:
    token = clean(odds.token)
    return {"token": token, "logprob": odds.logprob, "bytes": list(token.encode())}

"""Odds of tokens, made up: the same for the same token at the same place. Pure.

A token said has between 60 and 99 of 100; each next one in its place has half of what is left.
"""

import math
from hashlib import blake2b

from gateway.chat import TokenOdds

_OTHERS = (
    " the", " a", " and", " of", " to", " in", " is", " it", " that", " for", " on", " with", " as",
    " was", " at", " by", " an", " be", " this", " are", ".", ",", "\n",
)  # fmt: skip
_STEPS = 10**6
_LEAST_PERCENT = 60
_PERCENTS = 40


def make_odds(token: str, place: int, top: int) -> TokenOdds:
    """Return the odds of a token and of ``top`` in its place, itself first, together at most 1."""
    seed = f"{place}\x00{token}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(blake2b(seed, digest_size=4).digest(), "big")
    said = (_LEAST_PERCENT + number % _PERCENTS) / 100
    logprob = _logarithm(said)
    others = [word for word in _OTHERS if word != token]
    start = number // _PERCENTS
    ranked = [TokenOdds(token, logprob)]
    for rank in range(1, top):
        word = others[(start + rank) % len(others)]
        ranked.append(TokenOdds(word, _logarithm((1 - said) / 2**rank)))
    return TokenOdds(token, logprob, tuple(ranked[:top]))


def _logarithm(share: float) -> float:
    """Return the logarithm to six digits, rounded down: shares must not add up to more than all."""
    return math.floor(math.log(share) * _STEPS) / _STEPS

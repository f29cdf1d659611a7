"""Identifiers: prefixed, base62, made from the operating system's randomness."""

import os
import secrets
from time import time_ns

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
# A byte for a character. Eight of them come up for five bytes and not four, which takes nothing
# from what chance there is that two ids are the same.
_CHARACTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))


def base62(number: int, width: int) -> str:
    """Write a non-negative number in base 62, left-padded with zeros to ``width``."""
    pairs = []
    while number:
        number, rest = divmod(number, 3844)
        pairs.append(_PAIRS[rest])
    return "".join(reversed(pairs)).lstrip("0").rjust(width, "0")


def random_base62(width: int) -> str:
    """Return ``width`` characters, each uniformly drawn from the alphabet."""
    return base62(secrets.randbelow(62**width), width)


def new_id(prefix: str) -> str:
    """Return ``prefix_`` and twelve random characters, for rows that people name."""
    return f"{prefix}_{random_base62(12)}"


def new_request_id() -> str:
    """Return ``req_`` and 24 characters: eight of time, so that index inserts stay local."""
    random = os.urandom(16).translate(_CHARACTERS).decode("ascii")
    return f"req_{base62(time_ns() // 1_000_000, 8)}{random}"

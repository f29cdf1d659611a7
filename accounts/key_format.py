"""The form of an API key. Pure.

``hk-<kind>-`` + 12 characters of public id + 32 characters of secret + 6 characters of checksum,
all base62. The checksum is the CRC-32 of everything before it: a mistyped key costs no look-up, and
secret scanners can tell a true key from a lookalike. Stored is the HMAC-SHA-256 of the secret under
a versioned pepper from the environment, compared in constant time.
"""

import hmac
import re
import zlib
from typing import NamedTuple

from kernel.ids import base62, random_base62

PUBLIC_LENGTH = 12
SECRET_LENGTH = 32
_KEY = re.compile(
    r"hk-(proj|svcacct|admin)-([0-9A-Za-z]{12})([0-9A-Za-z]{32})([0-9A-Za-z]{6})", re.ASCII
)


class PresentedKey(NamedTuple):
    """A well-formed key as a caller sent it. Its ``repr`` keeps the secret to itself."""

    kind: str
    public_id: str
    secret: str

    def __repr__(self) -> str:
        return f"PresentedKey(hk-{self.kind}-{self.public_id}…)"


def parse_key(text: str) -> PresentedKey | None:
    """Return the parts of a well-formed key, None for anything else."""
    match = _KEY.fullmatch(text)
    if match is None or checksum(text[:-6]) != match[4]:
        return None
    return PresentedKey(match[1], match[2], match[3])


def render_key(kind: str, public_id: str, secret: str) -> str:
    head = f"hk-{kind}-{public_id}{secret}"
    return head + checksum(head)


def new_secret() -> str:
    return random_base62(SECRET_LENGTH)


def checksum(head: str) -> str:
    return base62(zlib.crc32(head.encode("ascii")), 6)


def secret_hmac(secret: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, secret.encode("ascii"), "sha256")


def is_secret(secret: str, stored: bytes, pepper: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(secret_hmac(secret, pepper), stored)

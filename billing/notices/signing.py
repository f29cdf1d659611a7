"""Signatures as Standard Webhooks has them (standardwebhooks.com, symmetric, ``v1``). Pure."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def render_signature(keys: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header's value: one ``v1,…`` for each secret, separated by spaces."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(_as_bytes(key), signed, hashlib.sha256)).decode()
        for key in keys
    )


def _as_bytes(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))

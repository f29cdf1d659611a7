"""Signatures as Standard Webhooks has them (standardwebhooks.com, symmetric, ``v1``). Pure."""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

_SECRET_BYTES = 32


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def render_signature(keys: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header's value: one ``v1,…`` for each secret, separated by spaces."""
    at = datetime.fromtimestamp(timestamp_s, UTC)  # the package takes every time for UTC
    return " ".join(Webhook(key).sign(message_id, at, body.decode()) for key in keys)

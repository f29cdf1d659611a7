"""The credential of a request, and the sentences that refuse one, the same on every path. Pure."""

from collections.abc import Mapping
from datetime import datetime

from kernel.errors import ForbiddenError, UnauthenticatedError


def presented_key(headers: Mapping[bytes, bytes], *, prefer_x_api_key: bool = False) -> str:
    """Return the key text a caller sent: ``Authorization: Bearer`` or ``x-api-key``.

    OpenAI paths prefer the first, Anthropic paths the second, when both are there and differ.

    Raises:
        UnauthenticatedError: neither was sent.

    """
    bearer = None
    scheme, _, credential = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        bearer = credential.strip() or None
    plain = headers.get(b"x-api-key", b"").strip() or None
    chosen = (plain or bearer) if prefer_x_api_key else (bearer or plain)
    if chosen is None:
        raise UnauthenticatedError(
            "You didn't provide an API key. Send it as 'Authorization: Bearer hk-proj-…'."
        )
    return chosen.decode("latin-1")


def check_standing(
    text: str, *, revoked: bool, expires_at: datetime | None, org_active: bool, now: datetime
) -> None:
    """Refuse a known key that is no longer good at ``now``.

    Raises:
        UnauthenticatedError: a revoked or expired key.
        ForbiddenError: a suspended organization.

    """
    if revoked:
        raise bad_key(text, "This API key is revoked")
    if expires_at is not None and expires_at <= now:
        raise bad_key(text, "This API key has expired")
    if not org_active:
        raise ForbiddenError(
            "This organization is suspended; write to your operator.", code="account_suspended"
        )


def bad_key(text: str, sentence: str = "Incorrect API key provided") -> UnauthenticatedError:
    """Return the refusal of a key that was sent, which is never echoed whole."""
    masked = f"{text[:8]}***" if text.startswith("hk-") and text.isascii() else "***"
    return UnauthenticatedError(f"{sentence}: {masked}.", code="invalid_api_key")

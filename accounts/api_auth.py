"""API keys for Django REST framework: the same keys, checks and sentences as the data plane's.

Every request asks the database: a revoked key is refused at once.
"""

from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.credentials import bad_key, check_standing, presented_key
from accounts.key_format import PresentedKey, is_secret, parse_key
from accounts.models import ApiKey, Organization
from accounts.networks import check_address, read_networks
from kernel import clock
from kernel.errors import ForbiddenError


class KeyAuthentication(BaseAuthentication):
    """Sets ``request.auth`` to the key, with its organization and project; there is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey]:
        """Return the calling key.

        Raises:
            UnauthenticatedError: no key, or one that is malformed, unknown, revoked or expired.
            ForbiddenError: a suspended organization, or another address than the key may be used
                from.

        """
        text = presented_key(_credential_headers(request.META))
        presented = parse_key(text)
        key = None if presented is None else _find_key(presented)
        if key is None:
            raise bad_key(text)
        check_standing(
            text,
            revoked=key.revoked_at is not None,
            expires_at=key.expires_at,
            org_active=key.org.status == Organization.Status.ACTIVE,
            now=clock.now(),
        )
        check_address(request.META.get("REMOTE_ADDR", ""), read_networks(key.allowed_networks))
        return None, key


class AdminKeyAuthentication(KeyAuthentication):
    """Lets in the organization's admin keys only."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey]:
        _, key = super().authenticate(request)
        if key.kind != ApiKey.Kind.ADMIN:
            raise ForbiddenError(
                "This path needs an admin key of the organization (hk-admin-…).",
                code="admin_key_required",
            )
        return None, key


def _credential_headers(meta: dict[str, Any]) -> dict[bytes, bytes]:
    sent = {
        b"authorization": meta.get("HTTP_AUTHORIZATION", ""),
        b"x-api-key": meta.get("HTTP_X_API_KEY", ""),
    }
    return {name: value.encode("latin-1", "replace") for name, value in sent.items()}


def _find_key(presented: PresentedKey) -> ApiKey | None:
    """Return the key whose secret, or whose rotated one that is still good, this is."""
    key = (
        ApiKey.objects.select_related("org", "project")
        .filter(public_id=presented.public_id)
        .first()
    )
    if key is None:
        return None
    secrets = [(key.secret_hmac, key.pepper_version)]
    if key.previous_hmac is not None and key.previous_pepper_version is not None:
        is_good = key.previous_until is not None and key.previous_until >= clock.now()
        secrets += [(key.previous_hmac, key.previous_pepper_version)] if is_good else []
    for stored, version in secrets:
        pepper = settings.KEY_PEPPERS.get(version)
        if pepper is not None and is_secret(presented.secret, bytes(stored), pepper):
            return key
    return None

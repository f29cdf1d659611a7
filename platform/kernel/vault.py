"""Secrets at rest: sealed under the platform's secret key, each purpose under a key of its own."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from kernel.errors import UpstreamError

PROVIDERS = "provider-credentials"
WEBHOOKS = "webhook-secrets"


class Vault:
    """Seals and opens the secrets of one purpose."""

    def __init__(self, secret_key: str, purpose: str) -> None:
        digest = hashlib.sha256(f"{purpose}:{secret_key}".encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))
        self._opened: dict[bytes, str] = {}

    def seal(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Return a secret.

        Raises:
            UpstreamError: when it was sealed under another secret key.

        """
        if sealed not in self._opened:
            try:
                self._opened[sealed] = self._fernet.decrypt(sealed).decode()
            except InvalidToken as error:
                raise UpstreamError("A stored credential cannot be opened.") from error
        return self._opened[sealed]

"""Provider credentials at rest: sealed under the platform's secret key, opened to be sent."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from kernel.errors import UpstreamError


class Vault:
    """Seals and opens credentials."""

    def __init__(self, secret_key: str) -> None:
        digest = hashlib.sha256(b"provider-credentials:" + secret_key.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))
        self._opened: dict[bytes, str] = {}

    def seal(self, credential: str) -> bytes:
        return self._fernet.encrypt(credential.encode())

    def open(self, sealed: bytes) -> str:
        """Return a credential.

        Raises:
            UpstreamError: when it was sealed under another secret key.

        """
        if sealed not in self._opened:
            try:
                self._opened[sealed] = self._fernet.decrypt(sealed).decode()
            except InvalidToken as error:
                raise UpstreamError("The provider's credential cannot be opened.") from error
        return self._opened[sealed]

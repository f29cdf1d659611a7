"""Who a call is made by, as the data plane knows it: one frozen value per key."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Principal:
    """A key's identity and limits. ``allowed_models`` of ``None`` means every model.

    Limits are per minute or day; ``None`` means the platform's default (``concurrency``: no limit).
    """

    key_id: int
    key_public_id: str
    kind: str
    org_id: int
    org_public_id: str
    org_active: bool
    project_id: int
    allowed_models: frozenset[str] | None
    rpm: int | None
    rpd: int | None
    tpm: int | None
    concurrency: int | None
    expires_at: datetime | None
    revoked: bool

    def may_call(self, model: str) -> bool:
        return self.allowed_models is None or model in self.allowed_models

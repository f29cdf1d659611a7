"""Who a call is made by, as the data plane knows it: one frozen value per key."""

from dataclasses import dataclass
from datetime import datetime

from kernel.addresses import Network


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The rate limits of one level, per minute, per day and at once; ``None`` is no limit."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


NO_LIMITS = RateLimits()


@dataclass(frozen=True, slots=True)
class Principal:
    """A key's identity, and the limits of its key, project and organization.

    ``allowed_models`` of ``None`` means every model, ``allowed_networks`` every address. Where the
    key itself has no limit a minute, the platform's default takes its place.
    """

    key_id: int
    key_public_id: str
    kind: str
    org_id: int
    org_public_id: str
    org_active: bool
    project_id: int
    allowed_models: frozenset[str] | None
    expires_at: datetime | None
    revoked: bool
    key_limits: RateLimits
    project_limits: RateLimits
    org_limits: RateLimits
    allowed_networks: tuple[Network, ...] | None = None

    def may_call(self, model: str) -> bool:
        return self.allowed_models is None or model in self.allowed_models

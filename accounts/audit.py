"""The audit trail: written in the transaction of the change it tells of."""

from collections.abc import Mapping
from typing import Any

from accounts.models import AuditEvent


def record_change(
    org_id: int | None,
    actor: str,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append one event. ``actor`` is an e-mail address or ``cli``; secrets never go in."""
    AuditEvent.objects.create(
        org_id=org_id, actor=actor, action=action, target=target, before=before, after=after
    )

"""The audit trail: written in the transaction of the change it tells of, and chained there.

1. An event is inserted; a trigger locks the end of its organization's chain (the platform's, where
   it has none), gives the event its number and its hash, and moves the end.
2. The lock is held until the change commits, so that numbers and hashes are in one order. It is the
   last lock of a change: record after you have locked what else you need (``billing/locks.py``).
3. The proof follows every chain from its first event to its end.
"""

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

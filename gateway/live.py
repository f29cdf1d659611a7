"""The live feed: tells a member's open pages that their organization's calls have changed.

1. Connect: the session names the person, ``?org=`` the organization; a stranger is turned away.
2. ``calls.changed`` arrives from every api process, many times a second. The first is passed on at
   once, later ones are gathered, so that a page hears at most two a second and always the last.
3. Disconnect: the group is left and the gathering task ended.

The feed carries no figures: pages fetch those through their own door, where permission is checked.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from accounts.access import access_membership
from accounts.models import User
from kernel.clock import monotonic
from kernel.errors import NotFoundError

PAUSE_S = 0.5
FORBIDDEN = 4403


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One open page. It listens only; what a browser sends is ignored."""

    group: str | None = None
    told_at: float = -PAUSE_S
    telling: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        org_id = await _find_org(self.scope)
        if org_id is None:
            await self.close(code=FORBIDDEN)
            return
        self.group = f"org.{org_id}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # Channels calls it so
        if self.telling is not None:
            self.telling.cancel()
            with suppress(asyncio.CancelledError):
                await self.telling
        if self.group is not None:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Ignore what a browser sends."""

    async def calls_changed(self, event: Mapping[str, Any]) -> None:  # no figures
        if self.telling is None or self.telling.done():
            self.telling = asyncio.create_task(self._tell_after_pause())

    async def _tell_after_pause(self) -> None:
        await asyncio.sleep(max(0.0, self.told_at + PAUSE_S - monotonic()))
        self.told_at = monotonic()
        await self.send_json({"type": "calls.changed"})


@database_sync_to_async
def _find_org(scope: Mapping[str, Any]) -> int | None:
    """Return the organization this connection may hear about, None for nobody's."""
    user = scope.get("user")
    if not isinstance(user, User):
        return None
    wanted = parse_qs(scope.get("query_string", b"").decode("ascii", "replace")).get("org")
    try:
        return int(access_membership(user, wanted[0] if wanted else None).org_id)
    except NotFoundError:
        return None

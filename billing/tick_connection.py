"""The writer's connection: the tick, the heartbeat, and quarantine.

Ticks are heard from callbacks (``statement.py``). What is awaited here is asked between them.
"""

from contextlib import suppress

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from billing import tick
from billing.batch import Batch
from billing.database import connect
from billing.holds import Closing
from billing.statement import Hear, Statement
from kernel.log import logger
from kernel.loops import running_loop

HEARTBEAT_S = 5.0
STATEMENT_TIMEOUT_MS = 2_000
log = logger(__name__)


class TickConnection:
    """Opened again and again, in one event loop. ``hear`` is called once for each tick sent."""

    def __init__(self, database_url: str, owner: str, hear: Hear) -> None:
        self._url = database_url
        self._owner = owner
        self._hear = hear
        self._connection: AsyncConnection[TupleRow] | None = None
        self._statement: Statement | None = None
        self._beat_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    async def open(self) -> bool:
        """Connect where that is lost; False where it cannot be done now."""
        if self.is_open:
            return True
        try:
            self._connection = await connect(
                self._url, "tollgate-writer", statement_timeout_ms=STATEMENT_TIMEOUT_MS
            )
            self._statement = await Statement.prepare(
                self._connection, "tick", tick.PREPARED, self._hear
            )
        except psycopg.Error as error:
            log.warning("writer_not_connected", error=type(error).__name__)
            await self.close()
            return False
        return True

    async def close(self) -> None:
        if self._statement is not None:
            self._statement.close()
        if self._connection is not None:
            with suppress(psycopg.Error):
                await self._connection.close()

    def send(self, batch: Batch) -> None:
        """Send a batch.

        Raises:
            Exception: whatever is wrong with a record, or the connection; nothing is heard then.

        """
        assert self._statement is not None, "made with the connection"
        arguments = tick.encode(
            batch.closings,
            [extension for extension, _ in batch.extensions],
            [request for request, _ in batch.holds],
            self._owner,
        )
        self._statement.send(arguments)

    @property
    def is_beat_due(self) -> bool:
        return running_loop().time() - self._beat_at >= HEARTBEAT_S

    async def beat(self) -> None:
        """Tell that this process lives, where that is due."""
        if not self.is_beat_due:
            return
        assert self._connection is not None, "it is open"
        self._beat_at = running_loop().time()
        try:
            await self._connection.execute(tick.HEARTBEAT, (self._owner,))
        except psycopg.Error:
            await self.close()

    async def quarantine(self, closing: Closing, reason: str) -> bool:
        """Put a closing aside for people to look at; False where that cannot be written now."""
        log.error("settlement_quarantined", request=closing.request_id, reason=reason[:200])
        assert self._connection is not None, "it has been open"
        try:
            await self._connection.execute(tick.QUARANTINE, tick.quarantine_row(closing, reason))
        except psycopg.Error:
            return False
        return True

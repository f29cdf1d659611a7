"""Idempotency-Key: a request sent again is answered again, and billed once.

1. The key is scoped to the API key and the endpoint; all aliases are one endpoint.
2. A finished answer that is stored is sent again as it was, under a new request id.
3. Otherwise the hold carries the key, and the database lets one of many through: the others hear
   409 while it runs, 422 when their body differs.
4. The answer is stored, sealed, before its last bytes leave; so a caller who missed them finds it.
   A call that ended without a whole answer leaves its key free.
5. Of an answer that is too large to store, that is stored: whoever asks again hears so, and nothing
   runs. It has been charged, and a key must not make it anew for nothing.

Sending the header is the consent to keep the answer for 24 hours.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from cryptography.fernet import Fernet, InvalidToken
from psycopg import Error as DatabaseError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.principal import Principal
from kernel import failpoints
from kernel.errors import (
    AnswerNotKeptError,
    BadRequestError,
    IdempotencyReusedError,
    UnavailableError,
)
from kernel.log import logger
from kernel.waiting import within

MOST_BYTES = 32 * 2**20
_NOT_KEPT = b""
_KEY = re.compile(rb"[\x20-\x7e]{1,255}")
FIND: LiteralString = """
select idem_body, is_stream, sealed from billing_idempotentanswer
where org_id = %s and idem_key = %s and created_at > now() - interval '24 hours'
"""
KEEP: LiteralString = """
insert into billing_idempotentanswer (org_id, idem_key, idem_body, is_stream, sealed, created_at)
values (%s, %s, %s, %s, %s, now()) on conflict (org_id, idem_key) do nothing
"""
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Once:
    """A request's idempotency: whose, under which scoped key, and the hash of its body."""

    org_id: int
    key: str
    body: str


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A whole answer; without content, one that was too large to be kept."""

    is_stream: bool
    content: bytes | None


def read_once(
    headers: Mapping[bytes, bytes], body: bytes, principal: Principal, endpoint: str
) -> Once | None:
    """Return the request's idempotency, None where no key was sent.

    Raises:
        BadRequestError: for a key that is not 1 to 255 printable ASCII characters.

    """
    sent = headers.get(b"idempotency-key")
    if sent is None:
        return None
    if not _KEY.fullmatch(sent):
        raise BadRequestError(
            "An Idempotency-Key is 1 to 255 printable ASCII characters.", param="idempotency-key"
        )
    scope = b"\n".join((principal.key_public_id.encode(), endpoint.encode(), sent))
    return Once(
        principal.org_id, hashlib.sha256(scope).hexdigest(), hashlib.sha256(body).hexdigest()
    )


class AnswerStore:
    """Keeps finished answers in the database, sealed under the platform's secret key."""

    def __init__(self, pool: AsyncConnectionPool, secret_key: str, *, wait_s: float) -> None:
        digest = hashlib.sha256(b"stored-answers:" + secret_key.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))
        self._pool = pool
        self._wait_s = wait_s

    async def find(self, once: Once) -> StoredAnswer | None:
        """Return the stored answer of this very request.

        Raises:
            IdempotencyReusedError: when the key stands for another body.
            AnswerNotKeptError: when the answer was too large.
            UnavailableError: when the database does not answer in time.

        """
        try:
            row = await within(self._wait_s, self._read(once))
            if row is None:
                return None
            sealed = bytes(row[2])
            content = self._fernet.decrypt(sealed) if sealed else _NOT_KEPT
        except TimeoutError as error:
            raise UnavailableError(
                "The Idempotency-Key cannot be checked at the moment; try again shortly.",
                headers={"retry-after": "1"},
            ) from error
        except (DatabaseError, PoolTimeout, InvalidToken) as error:
            # the hold decides then: it fails closed, and never lets a second one through
            log.warning("answer_not_found", error=type(error).__name__)
            return None
        if row[0] != once.body:
            raise IdempotencyReusedError(
                "This Idempotency-Key was used for another request body; use a new key."
            )
        if not sealed:
            raise AnswerNotKeptError(
                "This request has been answered, and the answer was too large to be kept. Use "
                "another Idempotency-Key to run it again."
            )
        return StoredAnswer(row[1], content)

    async def keep(self, once: Once, answer: StoredAnswer) -> None:
        """Store a whole answer. A failure is logged: then the request may be sent anew."""
        sealed = _NOT_KEPT
        if answer.content is not None and len(answer.content) <= MOST_BYTES:
            sealed = self._fernet.encrypt(answer.content)
        else:
            log.warning("answer_too_large_to_keep", is_stream=answer.is_stream)
        row = (once.org_id, once.key, once.body, answer.is_stream, sealed)
        try:
            await within(self._wait_s, self._write(row))
        except (DatabaseError, PoolTimeout, TimeoutError) as error:
            log.warning("answer_not_kept", error=type(error).__name__)
        failpoints.reach("after_answer_kept")

    async def _read(self, once: Once) -> TupleRow | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(FIND, (once.org_id, once.key))
            return await cursor.fetchone()

    async def _write(self, row: TupleRow) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(KEEP, row)

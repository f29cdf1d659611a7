"""Where answers are kept: in Redis, sealed, until their time. Redis away is a miss, never an error.

Signatures of thinking are kept here too (``signatures.py``).

An entry's name is an HMAC, so that Redis learns nothing of a request; it is bound into the seal, so
that an entry opens under its own name alone.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernel import clock
from kernel.log import logger

# Of one API key in a day, as long as an answer is kept at most: Redis has other work too.
MOST_BYTES_A_DAY = 64 * 2**20
DAY_S = 86_400
WAIT_S = 0.25
REST_S = 1.0
_NONCE_BYTES = 12
log = logger(__name__)


class AnswerCache:
    """Keeps sealed answers. ``percent`` is the share of its price that one of them costs.

    After a failure Redis is left alone for a second, so that a slow one does not slow every call.
    """

    def __init__(self, client: "Redis", secret_key: str, *, percent: int) -> None:
        self.percent = percent
        self.hits = 0
        self.misses = 0
        self._client = client
        self._naming_key = hashlib.sha256(f"cached-answers-names:{secret_key}".encode()).digest()
        sealing_key = hashlib.sha256(f"cached-answers:{secret_key}".encode()).digest()
        self._seal = AESGCM(sealing_key)
        self._rests_until = 0.0

    def name(self, *parts: bytes) -> str:
        """Return the name of the answer to what these parts say, all of them."""
        digest = hmac.new(self._naming_key, digestmod=hashlib.sha256)
        for part in parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.hexdigest()

    async def find(self, name: str) -> bytes | None:
        """Return an answer that is kept under this name, None without one that opens."""
        return (await self.find_many([name]))[0]

    async def find_many(self, names: Sequence[str]) -> Sequence[bytes | None]:
        """Return what is kept under each name, in one round trip."""
        nothing = [None] * len(names)
        if not names or clock.monotonic() < self._rests_until:
            return nothing
        try:
            async with asyncio.timeout(WAIT_S):
                found = await self._client.mget([_entry(name) for name in names])
        except (RedisError, OSError, TimeoutError) as error:
            self._rest("cache_not_read", error)
            return nothing
        return [self._open(name, sealed) for name, sealed in zip(names, found, strict=True)]

    def _open(self, name: str, sealed: object) -> bytes | None:
        if not isinstance(sealed, bytes):
            return None
        try:
            return self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            log.warning("cached_answer_not_opened")
            return None

    async def keep(self, name: str, content: bytes, *, ttl_s: int, owner: str) -> None:
        """Keep an answer for a time, as long as its owner has room for it."""
        if clock.monotonic() < self._rests_until:
            return
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._seal.encrypt(nonce, content, name.encode())
        try:
            async with asyncio.timeout(WAIT_S):
                if await self._has_room(owner, len(sealed)):
                    await self._client.set(_entry(name), sealed, ex=ttl_s)
        except (RedisError, OSError, TimeoutError) as error:
            self._rest("answer_not_cached", error)

    async def _has_room(self, owner: str, size: int) -> bool:
        kept = f"tollgate:answers:of:{owner}:{clock.now_s() // DAY_S}"
        async with self._client.pipeline(transaction=False) as together:
            together.incrby(kept, size)
            together.expire(kept, DAY_S)
            total, _ = await together.execute()
        return int(total) <= MOST_BYTES_A_DAY

    def _rest(self, event: str, error: Exception) -> None:
        self._rests_until = clock.monotonic() + REST_S
        log.warning(event, error=type(error).__name__)


def _entry(name: str) -> str:
    return f"tollgate:answer:{name}"

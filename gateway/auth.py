"""Who calls: from headers to a principal, mostly from memory.

1. The key's form and checksum are checked without I/O.
2. The principal comes from memory for at most ten seconds, else from one indexed query.
3. A key that changes is announced over Redis and dropped at once; with Redis away the ten seconds
   bound how long a revoked key is believed, and the hold re-checks it in any case.

Unknown keys are remembered too, so that guessing costs the database nothing.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, LiteralString

from psycopg import errors
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.credentials import bad_key, check_standing, presented_key
from accounts.key_format import PresentedKey, is_secret, parse_key
from accounts.networks import check_address, read_networks
from accounts.principal import Principal, RateLimits
from kernel import clock
from kernel.errors import ForbiddenError, UnavailableError
from kernel.waiting import within

REMEMBER_S = 10.0
REMEMBER_KEYS = 50_000
FIND_KEY: LiteralString = """
select k.id, k.public_id, k.kind, k.org_id, o.public_id, o.status = 'active', k.project_id,
  k.allowed_models, k.expires_at, k.revoked_at is not null,
  k.rpm, k.rpd, k.tpm, k.concurrency, p.rpm, p.rpd, p.tpm, p.concurrency,
  o.rpm, o.rpd, o.tpm, o.concurrency,
  k.secret_hmac, k.pepper_version, k.previous_hmac, k.previous_pepper_version, k.previous_until,
  k.allowed_networks, clock_timestamp()
from accounts_apikey k join accounts_organization o on o.id = k.org_id
join accounts_project p on p.id = k.project_id
where k.public_id = %s
"""


@dataclass(slots=True)
class _KnownKey:
    """``proof`` is of the secret that was last found right; only this process can make it."""

    principal: Principal | None
    secrets: tuple[tuple[bytes, int, datetime | None], ...]
    forget_at: float
    proof: bytes = b""


class KeyRing:
    """Finds principals; remembers what it found."""

    def __init__(
        self, pool: AsyncConnectionPool, peppers: Mapping[int, bytes], *, wait_s: float
    ) -> None:
        self._pool = pool
        self._peppers = peppers
        self._wait_s = wait_s
        self._proof_key = os.urandom(32)
        self._known: dict[str, _KnownKey] = {}
        self._changes = 0
        self._reading: dict[tuple[str, int], asyncio.Task[TupleRow | None]] = {}
        self._database_ahead_s = clock.now().timestamp() - clock.monotonic()

    def now(self) -> datetime:
        """Return the database's time, as the last look into it and monotonic time tell it.

        Keys end by the database's clock, as periods do: this machine's may jump.
        """
        return datetime.fromtimestamp(clock.monotonic() + self._database_ahead_s, UTC)

    async def find_principal(self, presented: PresentedKey) -> Principal | None:
        """Return the owner of a key whose secret matches, None otherwise.

        Raises:
            UnavailableError: when the database does not answer in time.

        """
        known = self._known.get(presented.public_id)
        if known is None or known.forget_at < clock.monotonic():
            known = await self._look_up(presented.public_id)
        # a third of what the stored HMAC takes, over and over for the same key
        proof = blake2b(presented.secret.encode(), key=self._proof_key, digest_size=32).digest()
        if compare_digest(proof, known.proof):
            return known.principal
        for stored, version, until in known.secrets:
            pepper = self._peppers.get(version)
            if pepper is None or (until is not None and until < self.now()):
                continue
            if is_secret(presented.secret, stored, pepper):
                if until is None:
                    known.proof = proof
                return known.principal
        return None

    def forget(self, public_id: str | None = None) -> None:
        """Drop one key from memory, all keys of one organization, or all there are."""
        self._changes += 1
        if public_id is None:
            self._known.clear()
        elif public_id.startswith("org_"):
            self._known = {
                name: known
                for name, known in self._known.items()
                if known.principal is None or known.principal.org_public_id != public_id
            }
        else:
            self._known.pop(public_id, None)

    async def _look_up(self, public_id: str) -> _KnownKey:
        changes = self._changes
        try:
            row = await within(self._wait_s, self._read_once(public_id))
        except (errors.OperationalError, PoolTimeout, TimeoutError) as error:
            raise UnavailableError(
                "The key cannot be checked at the moment; try again shortly.",
                headers={"retry-after": "1"},
            ) from error
        if row is not None:
            self._database_ahead_s = row[-1].timestamp() - clock.monotonic()
        known = _parse_row(row, clock.monotonic() + REMEMBER_S)
        if changes != self._changes:
            return known  # news came while it was read: it may be what was before the news
        if len(self._known) >= REMEMBER_KEYS:
            self._known.clear()
        self._known[public_id] = known
        return known

    def _read_once(self, public_id: str) -> asyncio.Task[TupleRow | None]:
        """Read a key, together with all who ask for it meanwhile and know of the same news."""
        name = (public_id, self._changes)
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.ensure_future(self._read(public_id))
            reading.add_done_callback(lambda _: self._reading.pop(name, None))
        return reading

    async def _read(self, public_id: str) -> TupleRow | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(FIND_KEY, (public_id,), prepare=True)
            return await cursor.fetchone()


def _parse_row(row: TupleRow | None, forget_at: float) -> _KnownKey:
    if row is None:
        return _KnownKey(None, (), forget_at)
    allowed = None if row[7] is None else frozenset(row[7])
    fields: tuple[Any, ...] = (*row[:7], allowed, *row[8:10])
    levels = (RateLimits(*row[start : start + 4]) for start in (10, 14, 18))
    principal = replace(Principal(*fields, *levels), allowed_networks=read_networks(row[27]))
    hmac, version, old_hmac, old_version, old_until = row[22:27]
    secrets: list[tuple[bytes, int, datetime | None]] = [(bytes(hmac), version, None)]
    if old_hmac is not None and old_until is not None:
        secrets.append((bytes(old_hmac), old_version, old_until))
    return _KnownKey(principal, tuple(secrets), forget_at)


async def authenticate(
    ring: KeyRing, headers: Mapping[bytes, bytes], address: str, *, prefer_x_api_key: bool = False
) -> Principal:
    """Return who calls from an address.

    Raises:
        UnauthenticatedError: no key, or one that is malformed, unknown, revoked or expired.
        ForbiddenError: a suspended organization, another address than the key may be used from,
            or an admin key on the data plane.

    """
    text = presented_key(headers, prefer_x_api_key=prefer_x_api_key)
    presented = parse_key(text)
    principal = None if presented is None else await ring.find_principal(presented)
    if principal is None:
        raise bad_key(text)
    check_standing(
        text,
        revoked=principal.revoked,
        expires_at=principal.expires_at,
        org_active=principal.org_active,
        now=ring.now(),
    )
    check_address(address, principal.allowed_networks)
    if principal.kind == "admin":
        raise ForbiddenError(
            "Admin keys manage the organization; call models with a project key.",
            code="admin_key_not_allowed",
        )
    return principal

"""What a process remembers of keys, and what it forgets at news."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, LiteralString

import pytest
from django.conf import settings
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from accounts.key_format import parse_key
from gateway import auth
from gateway.auth import KeyRing
from tests.factories import Tenant, make_tenant


@pytest.fixture
def acme(database: str) -> Tenant:
    return make_tenant()


@pytest.fixture
def mallory(database: str) -> Tenant:
    return make_tenant("Mallory's")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(database, min_size=1, max_size=2, open=False) as pool:
        yield pool


@pytest.fixture
def ring(pool: AsyncConnectionPool) -> KeyRing:
    return KeyRing(pool, settings.KEY_PEPPERS, wait_s=1)


async def change(pool: AsyncConnectionPool, statement: LiteralString) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement)


async def rpm_of(ring: KeyRing, tenant: Tenant) -> tuple[int | None, int | None]:
    presented = parse_key(tenant.key_text)
    assert presented is not None
    found = await ring.find_principal(presented)
    assert found is not None
    return found.key_limits.rpm, found.org_limits.rpm


async def test_news_of_an_organization_are_news_of_all_its_keys_and_no_others(
    ring: KeyRing, pool: AsyncConnectionPool, acme: Tenant, mallory: Tenant
) -> None:
    assert await rpm_of(ring, acme) == await rpm_of(ring, mallory) == (None, None)
    await change(pool, "update accounts_organization set rpm = 7")

    ring.forget(acme.org.public_id)

    assert await rpm_of(ring, acme) == (None, 7)
    assert await rpm_of(ring, mallory) == (None, None)  # still from memory


async def test_news_that_come_while_a_key_is_read_are_not_lost(
    ring: KeyRing, pool: AsyncConnectionPool, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = auth._parse_row

    def change_meanwhile(*arguments: Any) -> Any:
        ring.forget(acme.key.public_id)
        return parse(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(auth, "_parse_row", change_meanwhile)
        assert await rpm_of(ring, acme) == (None, None)
    await change(pool, "update accounts_apikey set rpm = 7")

    assert await rpm_of(ring, acme) == (7, None)


async def test_many_who_ask_at_once_are_one_look_into_the_database(
    ring: KeyRing, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(ring, monkeypatch)

    found = await asyncio.gather(*(rpm_of(ring, acme) for _ in range(200)))

    assert (set(found), len(looks)) == ({(None, None)}, 1)


async def test_who_asks_after_news_does_not_join_a_look_from_before(
    ring: KeyRing, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(ring, monkeypatch)
    early = asyncio.create_task(rpm_of(ring, acme))
    await asyncio.sleep(0)

    ring.forget()
    await asyncio.gather(early, rpm_of(ring, acme))

    assert len(looks) == 2


def count_looks(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    looks: list[str] = []
    read = ring._read

    async def noted(public_id: str) -> TupleRow | None:
        looks.append(public_id)
        return await read(public_id)

    monkeypatch.setattr(ring, "_read", noted)
    return looks


async def test_a_secret_that_was_found_right_makes_no_other_right(
    ring: KeyRing, acme: Tenant
) -> None:
    right = parse_key(acme.key_text)
    assert right is not None
    wrong = right._replace(secret="0" * len(right.secret))

    found = [await ring.find_principal(each) for each in (right, wrong, right, right, wrong)]

    assert [principal is not None for principal in found] == [True, False, True, True, False]


async def test_a_secret_that_was_replaced_ends_when_its_time_is_over_however_often_it_was_right(
    ring: KeyRing, pool: AsyncConnectionPool, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    presented = parse_key(acme.key_text)
    assert presented is not None
    await change(
        pool,
        "update accounts_apikey set previous_hmac = secret_hmac, secret_hmac = '\\x00',"
        " previous_pepper_version = pepper_version, previous_until = now() + interval '1 hour'",
    )
    before = [await ring.find_principal(presented) for _ in range(3)]
    later = ring.now() + timedelta(hours=2)
    monkeypatch.setattr(ring, "now", lambda: later)

    assert all(before)
    assert await ring.find_principal(presented) is None

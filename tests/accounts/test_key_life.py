"""Minting, rotating, revoking: what is stored, what is said, what lasts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import time_machine
from django.conf import settings
from django.db import connection

from accounts.key_format import is_secret, parse_key
from accounts.key_news import KEY_CHANNEL
from accounts.keys import KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import ApiKey
from kernel.errors import ConflictError
from tests.conftest import Stores
from tests.factories import make_tenant

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def secret_of(text: str) -> str:
    presented = parse_key(text)
    assert presented is not None
    return presented.secret


def every_cell() -> str:
    """Return all of the database's tables as one text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select table_name from information_schema.tables where table_schema = 'public'"
        )
        names = [name for (name,) in cursor.fetchall()]
        texts = []
        for name in names:
            cursor.execute(f'select t::text from "{name}" t')  # noqa: S608 # names of our tables
            texts += [text for (text,) in cursor.fetchall()]
    return "\n".join(texts)


def test_a_minted_key_keeps_what_was_asked_for_and_not_its_secret(database: str) -> None:
    acme = make_tenant()
    spec = KeySpec(
        kind="svcacct",
        name="nightly",
        allowed_models=("hacxgpt",),
        rpm=1,
        rpd=2,
        tpm=3,
        concurrency=4,
        expires_at=NOON,
    )

    minted = mint_key(acme.project, spec, actor="alice@example.com")

    key = ApiKey.objects.get(pk=minted.key.pk)
    assert (key.kind, key.name, key.allowed_models) == ("svcacct", "nightly", ["hacxgpt"])
    assert (key.rpm, key.rpd, key.tpm, key.concurrency) == (1, 2, 3, 4)
    assert (key.expires_at, key.revoked_at, key.org_id) == (NOON, None, acme.org.pk)
    assert key.masked == f"hk-svcacct-{key.public_id}…{minted.text[-4:]}"
    assert secret_of(minted.text) not in every_cell()
    version = max(settings.KEY_PEPPERS)
    assert key.pepper_version == version
    assert is_secret(secret_of(minted.text), bytes(key.secret_hmac), settings.KEY_PEPPERS[version])


def test_a_new_key_takes_the_newest_pepper(database: str, settings: Any) -> None:
    acme = make_tenant()
    settings.KEY_PEPPERS = {1: b"1" * 32, 7: b"7" * 32, 3: b"3" * 32}

    minted = mint_key(acme.project, KeySpec(), actor="cli")

    assert minted.key.pepper_version == 7
    assert is_secret(secret_of(minted.text), bytes(minted.key.secret_hmac), b"7" * 32)


def test_a_rotation_gives_a_new_secret_and_lets_the_old_one_overlap(database: str) -> None:
    acme = make_tenant()
    before = ApiKey.objects.get(pk=acme.key.pk)

    with time_machine.travel(NOON, tick=False):
        minted = rotate_key(acme.key, actor="cli", overlap=timedelta(hours=2))

    key = ApiKey.objects.get(pk=acme.key.pk)
    assert key.public_id == before.public_id
    assert (bytes(key.previous_hmac or b""), key.previous_pepper_version) == (
        bytes(before.secret_hmac),
        before.pepper_version,
    )
    assert key.previous_until == NOON + timedelta(hours=2)
    assert secret_of(minted.text) != secret_of(acme.key_text)
    assert key.last_four == minted.text[-4:]


def test_a_second_rotation_ends_the_first_secret_at_once(database: str) -> None:
    acme = make_tenant()
    second = rotate_key(acme.key, actor="cli")

    rotate_key(acme.key, actor="cli")

    key = ApiKey.objects.get(pk=acme.key.pk)
    pepper = settings.KEY_PEPPERS[key.pepper_version]
    kept = [bytes(key.secret_hmac), bytes(key.previous_hmac or b"")]
    assert any(is_secret(secret_of(second.text), stored, pepper) for stored in kept)
    assert not any(is_secret(secret_of(acme.key_text), stored, pepper) for stored in kept)


def test_a_revoked_key_is_not_rotated_and_nothing_moves(database: str) -> None:
    acme = make_tenant()
    revoke_key(acme.key, actor="cli")
    before = ApiKey.objects.values().get(pk=acme.key.pk)

    with pytest.raises(ConflictError) as refused:
        rotate_key(acme.key, actor="cli")

    assert refused.value.code == "key_revoked"
    assert ApiKey.objects.values().get(pk=acme.key.pk) == before


def test_revoking_twice_keeps_the_first_time(database: str) -> None:
    acme = make_tenant()

    with time_machine.travel(NOON, tick=False):
        revoke_key(acme.key, actor="cli")
    again = revoke_key(acme.key, actor="cli")

    assert again.revoked_at == NOON
    assert ApiKey.objects.get(pk=acme.key.pk).revoked_at == NOON


def said_until_quiet(news: Any) -> list[str]:
    """Return what is said on a channel until a second passes in silence."""
    said: list[str] = []
    while (message := news.get_message(timeout=1)) is not None and len(said) < 1_000:
        said.append(message["data"].decode())
    return said


def test_rotating_and_revoking_are_announced_by_public_id_alone(
    stores: Stores, settings: Any
) -> None:
    settings.REDIS_URL = stores.redis_url
    acme = make_tenant()
    with redis.Redis.from_url(stores.redis_url) as client, client.pubsub() as news:
        news.subscribe(KEY_CHANNEL)
        news.get_message(timeout=2)

        rotate_key(acme.key, actor="cli")
        revoke_key(acme.key, actor="cli")

        # channels are the server's: other tests' keys are heard too
        heard = [said for said in said_until_quiet(news) if said == acme.key.public_id]
    assert heard == [acme.key.public_id] * 2


def test_a_key_is_revoked_although_nobody_hears_of_it(database: str, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    acme = make_tenant()

    assert revoke_key(acme.key, actor="cli").revoked_at is not None

"""Minting, rotating and revoking keys. The secret leaves this module once, as a return value."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.audit import record_change
from accounts.key_format import new_secret, render_key, secret_hmac
from accounts.key_news import announce_key_change
from accounts.models import ApiKey, Project, User
from kernel import clock
from kernel.errors import ConflictError

ROTATION_OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What a new key may do. ``None`` means the platform's default or no limit."""

    kind: str = ApiKey.Kind.PROJECT
    name: str = ""
    allowed_models: Sequence[str] | None = None
    allowed_networks: Sequence[str] | None = None
    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A key and, this once, its text."""

    key: ApiKey
    text: str


def mint_key(project: Project, spec: KeySpec, *, actor: str, user: User | None = None) -> MintedKey:
    """Make a key of a project. Its text is returned once and stored nowhere."""
    secret = new_secret()
    version, pepper = _current_pepper()
    with transaction.atomic():
        key = ApiKey.objects.create(
            org_id=project.org_id,
            project=project,
            kind=spec.kind,
            name=spec.name,
            secret_hmac=secret_hmac(secret, pepper),
            pepper_version=version,
            allowed_models=None if spec.allowed_models is None else list(spec.allowed_models),
            allowed_networks=None if spec.allowed_networks is None else list(spec.allowed_networks),
            rpm=spec.rpm,
            rpd=spec.rpd,
            tpm=spec.tpm,
            concurrency=spec.concurrency,
            expires_at=spec.expires_at,
            created_by=user,
        )
        text = render_key(key.kind, key.public_id, secret)
        key.last_four = text[-4:]
        key.save(update_fields=["last_four"])
        record_change(key.org_id, actor, "key.create", key.masked, after={"name": key.name})
    return MintedKey(key, text)


def rotate_key(key: ApiKey, *, actor: str, overlap: timedelta = ROTATION_OVERLAP) -> MintedKey:
    """Give a key a new secret; the old one stays good for ``overlap``.

    Raises:
        ConflictError: for a revoked key.

    """
    secret = new_secret()
    version, pepper = _current_pepper()
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().get(pk=key.pk)
        if key.revoked_at is not None:
            raise ConflictError(f"Key {key.masked} is revoked; make a new one.", code="key_revoked")
        text = render_key(key.kind, key.public_id, secret)
        key.previous_hmac = key.secret_hmac
        key.previous_pepper_version = key.pepper_version
        key.previous_until = clock.now() + overlap
        key.secret_hmac = secret_hmac(secret, pepper)
        key.pepper_version = version
        key.last_four = text[-4:]
        key.save()
        record_change(key.org_id, actor, "key.rotate", key.masked)
        transaction.on_commit(lambda: announce_key_change(key.public_id))
    return MintedKey(key, text)


def revoke_key(key: ApiKey, *, actor: str) -> ApiKey:
    """Stop a key for good: new spend at once (the hold re-checks it), new calls within a second.

    Revoking twice keeps the first time.
    """
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().get(pk=key.pk)
        if key.revoked_at is None:
            key.revoked_at = clock.now()
            key.save(update_fields=["revoked_at"])
            record_change(key.org_id, actor, "key.revoke", key.masked)
        transaction.on_commit(lambda: announce_key_change(key.public_id))
    return key


def _current_pepper() -> tuple[int, bytes]:
    version = max(settings.KEY_PEPPERS)
    return version, settings.KEY_PEPPERS[version]

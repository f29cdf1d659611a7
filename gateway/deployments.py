"""Changing who serves a model and on which terms; seen by running processes at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from django.db import transaction

from accounts.audit import record_change
from gateway.models import Deployment, Provider, PublicModel
from gateway.news import announce_catalog_change
from kernel.errors import BadRequestError, NotFoundError

Row = TypeVar("Row", Deployment, Provider, PublicModel)
Named = TypeVar("Named", Provider, PublicModel)
Changes = Mapping[str, int | str | None]
MOST_NAME = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is served: at a provider, under the provider's own name for it."""

    model: str
    provider: str
    upstream_model: str


def set_deployment(place: Place, changes: Changes, *, actor: str) -> Deployment:
    """Serve a model at a place, or change its terms there.

    They are ``priority``, ``weight``, ``limit_field`` and ``active``.

    Raises:
        NotFoundError: for an unknown model or provider; BadRequestError: for an odd upstream name.

    """
    model = PublicModel.objects.filter(name=place.model).first()
    if model is None:
        raise NotFoundError(f"There is no model {place.model!r}.", code="not_found")
    provider = Provider.objects.filter(name=place.provider).first()
    if provider is None:
        raise NotFoundError(f"There is no provider {place.provider!r}.", code="not_found")
    if not 1 <= len(place.upstream_model) <= MOST_NAME:
        raise BadRequestError(
            f"An upstream model's name has 1 to {MOST_NAME} characters.", param="upstream_model"
        )
    with transaction.atomic():
        deployment, is_new = Deployment.objects.get_or_create(
            public_model=model,
            provider=provider,
            upstream_model=place.upstream_model,
            defaults=changes,
        )
        before = None
        if not is_new:
            deployment, before = _change(deployment, changes)
        if is_new or changes:
            record_change(
                None, actor, "model.route", place.model, before=before, after=_told(place, changes)
            )
            transaction.on_commit(announce_catalog_change)
    return deployment


def remove_deployment(place: Place, *, actor: str) -> None:
    """Serve a model at a place no longer; calls that run there end as they would have.

    Raises:
        NotFoundError: where it is not served there.

    """
    with transaction.atomic():
        removed, _ = Deployment.objects.filter(
            public_model__name=place.model,
            provider__name=place.provider,
            upstream_model=place.upstream_model,
        ).delete()
        if not removed:
            raise NotFoundError(
                f"{place.model!r} is not served by {place.provider!r} as {place.upstream_model!r}.",
                code="not_found",
            )
        record_change(None, actor, "model.unroute", place.model, before=_told(place, {}))
        transaction.on_commit(announce_catalog_change)


def change_provider(name: str, changes: Changes, *, actor: str) -> Provider:
    """Change a provider's ``concurrency``, timeouts, ``anthropic_version`` or ``active``.

    Raises:
        NotFoundError: for an unknown provider.

    """
    provider = Provider.objects.filter(name=name).first()
    if provider is None:
        raise NotFoundError(f"There is no provider {name!r}.", code="not_found")
    return _set(provider, changes, "provider.set", actor)


def change_model(name: str, changes: Changes, *, actor: str) -> PublicModel:
    """Change a model's limits of tokens, ``thinks_unseen`` or ``active``, at once.

    Raises:
        NotFoundError: for an unknown model.

    """
    model = PublicModel.objects.filter(name=name).first()
    if model is None:
        raise NotFoundError(f"There is no model {name!r}.", code="not_found")
    return _set(model, changes, "model.set", actor)


def _set(row: Named, changes: Changes, action: str, actor: str) -> Named:
    """Change a row that has a name, in one transaction with its trail; nothing for no changes."""
    if not changes:
        return row
    with transaction.atomic():
        row, before = _change(row, changes)
        record_change(None, actor, action, row.name, before=before, after=changes)
        transaction.on_commit(announce_catalog_change)
    return row


def _change(row: Row, changes: Changes) -> tuple[Row, dict[str, int | str | None]]:
    """Write the named columns to the locked row; return it and what they were before."""
    rows = type(row)._default_manager  # noqa: SLF001 # Django's documented name
    locked = rows.select_for_update().get(pk=row.pk)
    before = {name: getattr(locked, name) for name in changes}
    for name, value in changes.items():
        setattr(locked, name, value)
    if changes:
        locked.save(update_fields=[*changes])
    return locked, before


def _told(place: Place, changes: Changes) -> dict[str, object]:
    return {"provider": place.provider, "upstream_model": place.upstream_model, **changes}

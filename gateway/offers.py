"""Changing what is offered: providers, public models, who serves them."""

import re

from django.conf import settings
from django.db import transaction

from accounts.audit import record_change
from accounts.rate_limits import Changes, change_limits
from billing.models import Approval, PriceVersion
from billing.payments.approvals import offer_price
from billing.prices import PriceSpec
from billing.usage import Usage
from gateway.base_urls import check_base_url
from gateway.models import Deployment, ModelAlias, Provider, PublicModel
from gateway.news import announce_catalog_change
from kernel.errors import BadRequestError, ConflictError, NotFoundError
from kernel.vault import PROVIDERS, Vault

EMBEDDINGS_CONTEXT_TOKENS = 8_192  # what such models commonly read
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", re.ASCII)


def create_provider(
    name: str, *, kind: str, base_url: str, credential: str | None, actor: str
) -> Provider:
    """Add a provider; its credential is sealed and never shown again.

    Raises:
        BadRequestError: for an odd name, kind or address; ConflictError: for a name in use.

    """
    if not _NAME.fullmatch(name):
        raise BadRequestError(f"{name!r} is not a provider name.", param="name")
    if kind not in Provider.Kind.values:
        raise BadRequestError(f"{kind!r} is not a kind of provider.", param="kind")
    check_base_url(kind, base_url)
    if Provider.objects.filter(name=name).exists():
        raise ConflictError(f"There is a provider {name!r} already.", code="name_in_use")
    sealed = None if credential is None else Vault(settings.SECRET_KEY, PROVIDERS).seal(credential)
    with transaction.atomic():
        provider = Provider.objects.create(
            name=name, kind=kind, base_url=base_url.rstrip("/"), credential=sealed
        )
        record_change(None, actor, "provider.create", name, after={"kind": kind})
        transaction.on_commit(announce_catalog_change)
    return provider


def create_model(
    name: str,
    *,
    provider: str,
    upstream_model: str,
    price: Usage | None,
    actor: str,
    owned_by: str = "tollgate",
) -> PublicModel:
    """Offer a model under its public name; without a price it cannot be called.

    Where prices wait for a second person, its price does.

    Raises:
        BadRequestError: for an odd name; NotFoundError: for an unknown provider; ConflictError: for
            a name in use.

    """
    if not _NAME.fullmatch(name):
        raise BadRequestError(f"{name!r} is not a model name.", param="name")
    server = Provider.objects.filter(name=provider).first()
    if server is None:
        raise NotFoundError(f"There is no provider {provider!r}.", code="not_found")
    if PublicModel.objects.filter(name=name).exists():
        raise ConflictError(f"There is a model {name!r} already.", code="name_in_use")
    if ModelAlias.objects.filter(name=name).exists():
        raise ConflictError(f"There is an alias {name!r} already.", code="name_in_use")
    with transaction.atomic():
        model = PublicModel(name=name, owned_by=owned_by)
        if price is not None and price.embedding and not (price.input or price.output):
            model.context_tokens = EMBEDDINGS_CONTEXT_TOKENS
        model.save()
        Deployment.objects.create(
            public_model=model, provider=server, upstream_model=upstream_model
        )
        if price is not None:
            offer_price(PriceSpec(name, price), actor=actor)
        record_change(None, actor, "model.create", name, after={"provider": provider})
        transaction.on_commit(announce_catalog_change)
    return model


def alias_model(alias: str, model: str, *, actor: str) -> ModelAlias:
    """Let a model be called by another name as well; an alias that exists is turned to the model.

    Raises:
        BadRequestError: for an odd name; NotFoundError: for an unknown model, such as an alias;
        ConflictError: for the name of a model.

    """
    if not _NAME.fullmatch(alias):
        raise BadRequestError(f"{alias!r} is not a model name.", param="name")
    target = _model(model)
    if PublicModel.objects.filter(name=alias).exists():
        raise ConflictError(f"There is a model {alias!r} already.", code="name_in_use")
    with transaction.atomic():
        before = _target(alias)
        made, _ = ModelAlias.objects.update_or_create(name=alias, defaults={"public_model": target})
        record_change(None, actor, "model.alias", alias, before=before, after={"model": model})
        transaction.on_commit(announce_catalog_change)
    return made


def remove_alias(alias: str, *, actor: str) -> None:
    """Take a name away that stood for a model.

    Raises:
        NotFoundError: for an unknown alias.

    """
    with transaction.atomic():
        before = _target(alias)
        removed, _ = ModelAlias.objects.filter(name=alias).delete()
        if not removed:
            raise NotFoundError(f"There is no alias {alias!r}.", code="not_found")
        record_change(None, actor, "model.unalias", alias, before=before)
        transaction.on_commit(announce_catalog_change)


def limit_model(name: str, changes: Changes, *, actor: str) -> PublicModel:
    """Change what each organization may ask of a model; seen by running processes at once.

    Raises:
        NotFoundError: for an unknown model.

    """
    model = _model(name)
    if not changes:
        return model
    with transaction.atomic():
        model, before = change_limits(model, changes)
        record_change(None, actor, "model.limits", name, before=before, after=changes)
        transaction.on_commit(announce_catalog_change)
    return model


def price_model(spec: PriceSpec, *, actor: str) -> PriceVersion | Approval:
    """Publish a price of a model, the list's or an organization's own, or ask a second person.

    Raises:
        NotFoundError: for an unknown model; what ``billing.prices.publish`` raises.

    """
    if not PublicModel.objects.filter(name=spec.model).exists():
        raise NotFoundError(f"There is no model {spec.model!r}.", code="not_found", param="model")
    with transaction.atomic():
        offered = offer_price(spec, actor=actor)
        transaction.on_commit(announce_catalog_change)
    return offered


def _target(alias: str) -> dict[str, str] | None:
    """Lock an alias and return what it stands for, as the audit trail tells it."""
    rows = ModelAlias.objects.select_for_update(of=("self",)).select_related("public_model")
    found = rows.filter(name=alias).first()
    return None if found is None else {"model": found.public_model.name}


def _model(name: str) -> PublicModel:
    model = PublicModel.objects.filter(name=name).first()
    if model is None:
        raise NotFoundError(f"There is no model {name!r}.", code="not_found")
    return model

"""Organizations' own keys at providers: set, replaced and removed, never shown again.

A key is sealed as it comes in. Running processes hear of a change as of any in the catalogue, and
calls that began before keep the key they began with.
"""

import re
from collections.abc import Sequence

from django.conf import settings
from django.db import transaction

from accounts.audit import record_change
from accounts.models import Organization
from gateway.models import Provider, ProviderKey
from gateway.news import announce_catalog_change
from kernel import clock
from kernel.errors import BadRequestError, NotFoundError
from kernel.vault import PROVIDERS, Vault

# It becomes a header's value. What is shorter is no secret, and its end would say too much.
_CREDENTIAL = re.compile(r"[\x21-\x7e]{12,4096}", re.ASCII)


def set_provider_key(
    org: Organization, provider_name: str, credential: str, *, actor: str
) -> ProviderKey:
    """Seal an organization's own key at a provider; it takes the place of an earlier one.

    Raises:
        NotFoundError: for an unknown provider; BadRequestError: for one that takes no key, or for
            what cannot be a key.

    """
    provider = _find_provider(provider_name)
    if provider.kind == Provider.Kind.SIMULATOR:
        raise BadRequestError(f"The provider {provider_name} takes no key.", param="provider")
    if not _CREDENTIAL.fullmatch(credential):
        raise BadRequestError(
            "A provider's key is 12 to 4096 printable ASCII characters without blanks.",
            param="credential",
        )
    sealed = Vault(settings.SECRET_KEY, PROVIDERS).seal(credential)
    fields = {"credential": sealed, "last_four": credential[-4:], "set_at": clock.now()}
    with transaction.atomic():
        key, _ = ProviderKey.objects.update_or_create(org=org, provider=provider, defaults=fields)
        record_change(
            org.pk, actor, "provider_key.set", provider.name, after={"last_four": key.last_four}
        )
        transaction.on_commit(announce_catalog_change)
    return key


def remove_provider_key(org: Organization, provider_name: str, *, actor: str) -> None:
    """Remove an organization's own key; its calls carry the platform's again.

    Raises:
        NotFoundError: where it has none there.

    """
    with transaction.atomic():
        removed, _ = ProviderKey.objects.filter(org=org, provider__name=provider_name).delete()
        if not removed:
            raise NotFoundError(
                f"{org.public_id} has no key of its own at {provider_name!r}.", code="not_found"
            )
        record_change(org.pk, actor, "provider_key.remove", provider_name)
        transaction.on_commit(announce_catalog_change)


def list_provider_keys(org: Organization) -> Sequence[ProviderKey]:
    """Return an organization's own keys by provider."""
    keys = ProviderKey.objects.filter(org=org).select_related("provider")
    return list(keys.order_by("provider__name"))


def _find_provider(name: str) -> Provider:
    provider = Provider.objects.filter(name=name).first()
    if provider is None:
        raise NotFoundError(f"There is no provider {name!r}.", code="not_found")
    return provider

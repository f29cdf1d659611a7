"""Webhook endpoints: made, changed and ended; each change is in the audit trail.

A secret is shown by ``create_endpoint`` and ``rotate_secret`` and never again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import record_change
from accounts.models import Organization
from billing.locks import lock_accounts
from billing.models import Delivery, WebhookEndpoint
from billing.notices.kinds import KINDS, TEST
from billing.notices.outbox import write_event
from billing.notices.signing import new_secret
from kernel import clock
from kernel.addresses import check_url
from kernel.errors import BadRequestError, ConflictError, NotFoundError
from kernel.vault import WEBHOOKS, Vault

MOST_ENDPOINTS = 20
MOST_DESCRIPTION = 200
OVERLAP = timedelta(hours=24)
MOST_OVERLAP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An endpoint to be; ``kinds`` empty is every kind."""

    url: str
    kinds: Sequence[str] = field(default_factory=tuple)
    description: str = ""


@dataclass(frozen=True, slots=True)
class MadeEndpoint:
    """An endpoint and its secret, in the one moment when it is known."""

    endpoint: WebhookEndpoint
    secret: str


def create_endpoint(org: Organization | None, spec: EndpointSpec, *, actor: str) -> MadeEndpoint:
    """Make an endpoint of an organization, or of the operators where ``org`` is None.

    Raises:
        BadRequestError: for an address we would not call, an unknown kind, or too many endpoints.

    """
    _check(spec, is_ours=org is None)
    secret = new_secret()
    with transaction.atomic():
        if org is not None:
            lock_accounts([org.pk])
        if endpoints_of(org).count() >= MOST_ENDPOINTS:
            raise BadRequestError(f"There are {MOST_ENDPOINTS} endpoints at most.")
        endpoint = WebhookEndpoint.objects.create(
            org=org,
            url=spec.url,
            kinds=sorted(set(spec.kinds)),
            description=spec.description,
            secret=_vault().seal(secret),
            created_by=actor,
        )
        _record(endpoint, actor, "webhook.create")
    return MadeEndpoint(endpoint, secret)


def rotate_secret(
    endpoint: WebhookEndpoint, *, actor: str, overlap: timedelta = OVERLAP
) -> MadeEndpoint:
    """Give an endpoint a new secret; the old one signs too for the overlap.

    Raises:
        BadRequestError: for an overlap of more than 30 days.

    """
    if not timedelta() <= overlap <= MOST_OVERLAP:
        raise BadRequestError("An overlap is 30 days at most.", param="overlap")
    secret = new_secret()
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        endpoint.previous_secret = endpoint.secret
        endpoint.previous_until = clock.now() + overlap
        endpoint.secret = _vault().seal(secret)
        endpoint.save(update_fields=["secret", "previous_secret", "previous_until"])
        _record(endpoint, actor, "webhook.rotate")
    return MadeEndpoint(endpoint, secret)


def delete_endpoint(endpoint: WebhookEndpoint, *, actor: str) -> None:
    """Call an endpoint no more, and give up what is due to it."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        endpoint.deleted_at = clock.now()
        endpoint.save(update_fields=["deleted_at"])
        give_up_due(endpoint)
        _record(endpoint, actor, "webhook.delete")


def enable_endpoint(endpoint: WebhookEndpoint, *, actor: str) -> WebhookEndpoint:
    """Call a disabled endpoint again, from the next event on; earlier ones are sent by hand."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        if endpoint.disabled_at is not None:
            endpoint.disabled_at, endpoint.disabled_why, endpoint.failing_since = None, "", None
            endpoint.save(update_fields=["disabled_at", "disabled_why", "failing_since"])
            _record(endpoint, actor, "webhook.enable")
    return endpoint


def send_test(endpoint: WebhookEndpoint) -> Delivery:
    """Make an event for this endpoint alone, due at once.

    Raises:
        ConflictError: for a disabled endpoint.

    """
    _check_enabled(endpoint)
    with transaction.atomic():
        event = write_event(TEST, {}, org_id=endpoint.org_id, dispatched_at=clock.now())
        return Delivery.objects.create(event=event, endpoint=endpoint)


def resend(delivery: Delivery) -> Delivery:
    """Make a delivery due again, with all its tries; the event keeps its id.

    Raises:
        ConflictError: while it is due anyway, or for a disabled endpoint.

    """
    with transaction.atomic():
        delivery = Delivery.objects.select_for_update().get(pk=delivery.pk)
        if delivery.endpoint is not None:
            _check_enabled(delivery.endpoint)
        if delivery.state == Delivery.State.DUE:
            raise ConflictError("The delivery is due anyway.", code="delivery_due")
        delivery.state, delivery.ended_at = Delivery.State.DUE, None
        delivery.earlier_attempts = delivery.attempts
        delivery.next_at = clock.now()
        delivery.save(update_fields=["state", "ended_at", "earlier_attempts", "next_at"])
    return delivery


def endpoints_of(org: Organization | None) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(org=org, deleted_at=None).order_by("id")


def access_endpoint(org: Organization | None, public_id: str) -> WebhookEndpoint:
    """Return an organization's endpoint, or the operators'; strangers' do not exist."""
    endpoint = endpoints_of(org).filter(public_id=public_id).first()
    if endpoint is None:
        raise NotFoundError("No such webhook endpoint.", code="not_found")
    return endpoint


def operator_endpoint(public_id: str) -> WebhookEndpoint:
    """Return any endpoint, for operators."""
    endpoint = WebhookEndpoint.objects.filter(public_id=public_id, deleted_at=None).first()
    if endpoint is None:
        raise NotFoundError(f"There is no webhook endpoint {public_id!r}.", code="not_found")
    return endpoint


def access_delivery(endpoint: WebhookEndpoint, public_id: str) -> Delivery:
    delivery = Delivery.objects.filter(endpoint=endpoint, public_id=public_id).first()
    if delivery is None:
        raise NotFoundError("No such delivery.", code="not_found")
    return delivery


def open_secrets(endpoint: WebhookEndpoint) -> list[str]:
    """Return the secrets that sign now, the newest first."""
    vault = _vault()
    secrets = [vault.open(bytes(endpoint.secret))]
    if endpoint.previous_secret is not None and endpoint.previous_until is not None:
        is_good = endpoint.previous_until > clock.now()
        secrets += [vault.open(bytes(endpoint.previous_secret))] if is_good else []
    return secrets


def give_up_due(endpoint: WebhookEndpoint) -> None:
    """Give up what is due to an endpoint that is not called any more."""
    Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.DUE).update(
        state=Delivery.State.GIVEN_UP, ended_at=clock.now()
    )


def _check(spec: EndpointSpec, *, is_ours: bool) -> None:
    check_url(spec.url, settings.WEBHOOK_NETWORKS)
    known = [name for name, kind in KINDS.items() if is_ours or not kind.is_ours]
    for kind in spec.kinds:
        if kind not in known:
            raise BadRequestError(
                f"{kind[:60]!r} is no kind of event: {', '.join(known)}.", param="kinds"
            )
    if len(spec.description) > MOST_DESCRIPTION:
        raise BadRequestError("A description has 200 characters at most.", param="description")


def _check_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None or endpoint.deleted_at is not None:
        raise ConflictError("The endpoint is disabled; enable it first.", code="webhook_disabled")


def _record(endpoint: WebhookEndpoint, actor: str, action: str) -> None:
    # the host only: paths and queries of webhooks often are secrets
    told = {"host": urlsplit(endpoint.url).hostname, "kinds": endpoint.kinds}
    record_change(endpoint.org_id, actor, action, endpoint.public_id, after=told)


def _vault() -> Vault:
    return Vault(settings.SECRET_KEY, WEBHOOKS)

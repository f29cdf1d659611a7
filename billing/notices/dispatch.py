"""From the outbox to its recipients, at least once each, whatever dies in between.

1. ``fan_out`` turns an event into a delivery for each recipient and marks it dispatched: one
   transaction, so that an event is dispatched exactly once.
2. ``claim`` takes due deliveries: it writes the attempt and when the next one would be due, before
   anything is sent. Whoever dies after that has left an attempt without an end, and the next one
   comes by itself: nothing is lost, and no attempt is made twice.
3. ``sending`` sends what was claimed, without the database.
4. ``note`` writes how the attempt ended: delivered, due again later, or given up. A recipient sees
   one event twice only when its process died between 3 and 4; the event's id tells.

An endpoint that has failed for five days, or says 410, is disabled, and its organization is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from accounts.models import Member, User
from billing.models import Delivery, DeliveryAttempt, OutboxEvent, WebhookEndpoint
from billing.notices.endpoints import give_up_due
from billing.notices.kinds import DISABLED, KINDS
from billing.notices.letters import LETTERS
from billing.notices.outbox import write_event
from billing.notices.sending import Outcome
from kernel import clock
from kernel.log import logger

CHUNK = 100
AT_ONCE = 20
# Standard Webhooks' schedule: before the second try, the third, and so on.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
TRIES = len(PAUSES) + 1
# Longer than an attempt can take: its process is dead when this has passed.
LEASE = timedelta(seconds=60)
PATIENCE = timedelta(days=5)
# What is older is no news to people: after an upgrade or a long outage nobody gets a flood of it.
NEWS = timedelta(days=3)
# The database's clock and ours may differ by this much.
SKEW = timedelta(minutes=1)
GONE = 410
MAILED_ROLES = (Member.Role.OWNER, Member.Role.ADMIN, Member.Role.BILLING)
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that is written and must now be made."""

    attempt: DeliveryAttempt
    delivery: Delivery


def fan_out() -> int:
    """Write the deliveries of up to 100 events that have none yet; return how many events."""
    with transaction.atomic():
        events = list(
            OutboxEvent.objects.select_for_update(skip_locked=True)
            .filter(dispatched_at=None)
            .order_by("id")[:CHUNK]
        )
        for event in events:
            Delivery.objects.bulk_create(_deliveries(event))
        OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).update(
            dispatched_at=clock.now()
        )
    return len(events)


def claim() -> list[Claim]:
    """Take up to 20 due deliveries, the longest due first, and write an attempt of each."""
    now = clock.now()
    with transaction.atomic():
        due = list(
            Delivery.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=Delivery.State.DUE, next_at__lte=now)
            .select_related("event__org", "endpoint")
            .order_by("next_at", "id")[:AT_ONCE]
        )
        claims = []
        for delivery in due:
            if _made(delivery) < TRIES:
                claims.append(_begin(delivery, now))
            else:
                _give_up(delivery)  # whoever made its last try has died
    return claims


def note(claimed: Claim, outcome: Outcome) -> None:
    """Write how an attempt ended, and what follows for its delivery and its endpoint."""
    now = clock.now()
    with transaction.atomic():
        endpoint = _lock_endpoint(claimed.delivery)
        delivery = Delivery.objects.select_for_update().get(pk=claimed.delivery.pk)
        DeliveryAttempt.objects.filter(pk=claimed.attempt.pk).update(
            ended_at=now,
            duration_ms=outcome.duration_ms,
            status=outcome.status,
            error=outcome.error[:200],
        )
        if outcome.is_delivered:
            delivery.state, delivery.ended_at = Delivery.State.DELIVERED, now
            delivery.save(update_fields=["state", "ended_at"])
        elif delivery.state == Delivery.State.DUE and delivery.attempts == claimed.attempt.number:
            _put_off(delivery, now)
        if endpoint is not None:
            _note_health(endpoint, outcome, now)


def _deliveries(event: OutboxEvent) -> list[Delivery]:
    kind = KINDS.get(event.kind)
    if kind is None:
        log.error("event_of_unknown_kind", kind=event.kind, outbox=event.pk)
        return []
    org_id = None if kind.is_ours else event.org_id
    endpoints = WebhookEndpoint.objects.filter(
        Q(kinds=[]) | Q(kinds__contains=[event.kind]),
        org_id=org_id,
        disabled_at=None,
        deleted_at=None,
        created_at__lte=event.created_at + SKEW,
    ).order_by("id")
    is_news = clock.now() - event.created_at < NEWS
    addresses = _addresses(org_id) if is_news and event.kind in LETTERS else ()
    return [
        *(Delivery(event=event, endpoint=endpoint) for endpoint in endpoints),
        *(Delivery(event=event, email=address) for address in addresses),
    ]


def _addresses(org_id: int | None) -> Sequence[str]:
    """Return whom to write to: those who pay and decide, or the operators."""
    people = User.objects.filter(is_active=True)
    if org_id is None:
        people = people.filter(is_staff=True)
    else:
        people = people.filter(memberships__org_id=org_id, memberships__role__in=MAILED_ROLES)
    return list(people.order_by("id").values_list("email", flat=True))


def _made(delivery: Delivery) -> int:
    """Return how many tries were made since it was last asked for."""
    return delivery.attempts - delivery.earlier_attempts


def _begin(delivery: Delivery, now: datetime) -> Claim:
    delivery.next_at = now + max(LEASE, _pause(delivery))
    delivery.attempts += 1
    delivery.save(update_fields=["attempts", "next_at"])
    attempt = DeliveryAttempt.objects.create(
        delivery=delivery, number=delivery.attempts, started_at=now
    )
    return Claim(attempt, delivery)


def _pause(delivery: Delivery) -> timedelta:
    """Return how long to wait after the try that is about to be made."""
    return PAUSES[min(_made(delivery), len(PAUSES) - 1)]


def _put_off(delivery: Delivery, now: datetime) -> None:
    if _made(delivery) >= TRIES:
        _give_up(delivery)
        return
    delivery.next_at = now + PAUSES[_made(delivery) - 1]
    delivery.save(update_fields=["next_at"])


def _give_up(delivery: Delivery) -> None:
    delivery.state, delivery.ended_at = Delivery.State.GIVEN_UP, clock.now()
    delivery.save(update_fields=["state", "ended_at"])
    log.error("delivery_given_up", delivery=delivery.public_id, kind=delivery.event.kind)


def _lock_endpoint(delivery: Delivery) -> WebhookEndpoint | None:
    """Lock the endpoint before its delivery, as whoever deletes it does."""
    if delivery.endpoint_id is None:
        return None
    return WebhookEndpoint.objects.select_for_update().get(pk=delivery.endpoint_id)


def _note_health(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> None:
    if outcome.is_delivered:
        endpoint.failing_since = None
    elif endpoint.failing_since is None:
        endpoint.failing_since = now
    endpoint.save(update_fields=["failing_since"])
    if endpoint.disabled_at is not None or endpoint.deleted_at is not None:
        return
    if outcome.status == GONE:
        _disable(endpoint, "The endpoint answered 410 Gone.")
    elif endpoint.failing_since is not None and now - endpoint.failing_since >= PATIENCE:
        _disable(endpoint, "Every delivery has failed for five days.")


def _disable(endpoint: WebhookEndpoint, why: str) -> None:
    endpoint.disabled_at, endpoint.disabled_why = clock.now(), why
    endpoint.save(update_fields=["disabled_at", "disabled_why"])
    give_up_due(endpoint)
    write_event(DISABLED, {"webhook": endpoint.public_id, "why": why}, org_id=endpoint.org_id)
    log.warning("webhook_disabled", webhook=endpoint.public_id, why=why)

"""Whatever dies, stalls or runs twice: every event goes out, and each attempt once."""

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import connection

from accounts.models import User
from billing.models import Delivery, DeliveryAttempt, OutboxEvent, WebhookEndpoint
from billing.notices import dispatch, telling
from billing.notices.dispatch import TRIES, fan_out, note
from billing.notices.endpoints import (
    enable_endpoint,
    resend,
    send_test,
)
from billing.notices.kinds import KINDS
from billing.notices.outbox import write_event
from billing.notices.sending import Outcome
from billing.notices.telling import tell
from billing.payments.telling import alarm
from kernel import clock
from kernel.errors import ConflictError
from tests.architecture.tree import PACKAGES, sources
from tests.factories import ACTOR
from tests.fakes.receiver import Receiver
from tests.notices.conftest import Cast, claim_one, listen, make_due, only_delivery, tries


def test_an_endpoint_that_failed_for_five_days_is_disabled_and_its_owner_is_told(
    cast: Cast, receiver: Receiver
) -> None:
    made = listen(cast, receiver)
    cast.event()
    cast.event()
    receiver.answers = [500] * 4
    tell()
    first = WebhookEndpoint.objects.get().failing_since
    assert first is not None
    WebhookEndpoint.objects.update(failing_since=first - timedelta(days=5))

    claims = claim_one()
    note(claims, Outcome("answered 500", 500, 1))

    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.disabled_why == "Every delivery has failed for five days."
    assert set(Delivery.objects.values_list("state", flat=True)) == {"given_up"}
    told = OutboxEvent.objects.get(kind="webhook.disabled")
    assert (told.org_id, told.payload["webhook"]) == (cast.acme.org.pk, endpoint.public_id)
    cast.event()
    tell()
    assert made.endpoint.deliveries.filter(state="due").count() == 0
    with pytest.raises(ConflictError):
        resend(Delivery.objects.exclude(endpoint=None).order_by("id")[0])
    with pytest.raises(ConflictError):
        send_test(endpoint)

    receiver.answers = []
    assert enable_endpoint(endpoint, actor=ACTOR).disabled_at is None
    event = cast.event()
    tell()
    assert receiver.posted[-1].event_id == event.public_id


def test_an_endpoint_that_says_gone_is_disabled_at_once(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    cast.event()
    receiver.answers = [410]

    tell()

    assert WebhookEndpoint.objects.get().disabled_why == "The endpoint answered 410 Gone."
    assert only_delivery().state == "given_up"


def test_a_success_ends_the_count_of_failing_days(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    cast.event()
    receiver.answers = [500]
    tell()
    assert WebhookEndpoint.objects.get().failing_since is not None

    make_due()
    tell()

    assert WebhookEndpoint.objects.get().failing_since is None


def test_an_event_of_a_kind_nobody_listed_goes_nowhere_and_stops_nobody(
    cast: Cast, receiver: Receiver
) -> None:
    listen(cast, receiver)
    cast.event("no.such_kind")
    cast.event()

    assert tell() == 1
    assert not OutboxEvent.objects.filter(dispatched_at=None).exists()


def test_a_dispatch_that_dies_is_made_again_whole(
    cast: Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(cast, receiver)
    cast.event()
    second = cast.event()
    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "_deliveries", dies_at(second.pk, dispatch._deliveries))
        with pytest.raises(SystemError):
            fan_out()
    assert Delivery.objects.count() == 0

    tell()

    assert len(receiver.posted) == len({posted.event_id for posted in receiver.posted}) == 2


def dies_at(pk: int, function: Any) -> Any:
    def die(event: OutboxEvent) -> Any:
        if event.pk == pk:
            raise SystemError
        return function(event)

    return die


@pytest.mark.parametrize(
    ("point", "posts"), [("send_all", 1), ("note", 2)], ids=["before the send", "after the send"]
)
def test_who_dies_over_an_attempt_leaves_it_and_the_next_one_comes(
    cast: Cast,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    posts: int,
) -> None:
    listen(cast, receiver)
    cast.event()

    def die(*_: Any) -> None:
        raise SystemError

    with monkeypatch.context() as patched:
        patched.setattr(telling, point, die)
        with pytest.raises(SystemError):
            tell()
    assert only_delivery().next_at > clock.now()  # nobody takes it while it may be in hand
    assert tell() == 0
    make_due()
    tell()

    attempts = list(DeliveryAttempt.objects.order_by("number"))
    assert [(each.number, each.ended_at is None) for each in attempts] == [(1, True), (2, False)]
    assert len(receiver.posted) == posts
    assert len({posted.event_id for posted in receiver.posted}) == 1
    assert only_delivery().state == "delivered"


def test_a_late_failure_changes_nothing_of_a_newer_success(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    cast.event()
    fan_out()
    slow = claim_one()
    make_due()
    tell()

    note(slow, Outcome("no answer", None, 1))

    assert only_delivery().state == "delivered"
    assert tries() == [(1, None, "no answer"), (2, 200, "")]


def test_a_last_try_that_never_ended_is_given_up(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    cast.event()
    fan_out()
    Delivery.objects.update(attempts=TRIES)

    assert tell() == 0
    assert only_delivery().state == "given_up"


def test_two_workers_at_once_post_every_event_once(cast: Cast, receiver: Receiver) -> None:
    listen(cast, receiver)
    events = {cast.event().public_id for _ in range(60)}

    def work() -> None:
        while tell():
            pass
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    tell()
    assert sorted(posted.event_id for posted in receiver.posted) == sorted(events)
    assert DeliveryAttempt.objects.count() == 60


def test_every_kind_that_is_written_to_the_outbox_is_listed() -> None:
    written = set()
    doors = set()
    for path in sources(*PACKAGES):
        text = path.read_text(encoding="utf-8")
        if re.search(r"OutboxEvent(\.objects\.\w*create)?\(|into billing_outboxevent", text):
            doors.add(path.name)
    for path in sources("billing", suffix=".sql"):
        text = path.read_text(encoding="utf-8")
        for part in text.split("into billing_outboxevent")[1:]:
            written |= set(re.findall(r"'([a-z_]+\.[a-z_]+)'", part[:400]))

    # beside SQL, whose kinds are read here, the outbox has one door, and that asks for the kind
    assert doors == {"outbox.py"}
    assert {"budget.threshold_reached", "balance.low"} <= written
    assert written - KINDS.keys() == set()
    with pytest.raises(AssertionError, match=r"topup\.unheard_of"):
        write_event("topup.unheard_of", {})


def test_a_payment_that_granted_nothing_is_told_to_operators_and_to_nobody_else(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    User.objects.create_superuser("operator@example.com")
    alarm(None, "evt_1", "there is no such top-up")

    tell()

    (letter,) = mailoutbox
    assert letter.to == ["operator@example.com"]
    assert letter.subject == "[Tollgate] A payment for the platform granted nothing"
    assert "Reason:  there is no such top-up\nSource:  evt_1\nTop-up:  unknown" in letter.body


def test_what_was_before_an_endpoint_is_not_posted_and_what_is_old_is_not_written(
    cast: Cast, receiver: Receiver, mailoutbox: list[object]
) -> None:
    listen(cast, receiver)
    old = cast.event("balance.low", balance_nanos="1", threshold_nanos="2")
    OutboxEvent.objects.filter(pk=old.pk).update(created_at=clock.now() - timedelta(days=3))
    late = cast.event("balance.low", balance_nanos="3", threshold_nanos="4")
    WebhookEndpoint.objects.update(created_at=clock.now() - timedelta(days=1))

    tell()

    assert [posted.event_id for posted in receiver.posted] == [late.public_id]
    assert len(mailoutbox) == 1
    assert not OutboxEvent.objects.filter(dispatched_at=None).exists()

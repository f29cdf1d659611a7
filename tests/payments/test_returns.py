"""What payers get back is taken back where it is free; the rest is the platform's loss."""

import pytest

from accounts.models import AuditEvent
from billing.database import connect_sync
from billing.models import (
    CreditGrant,
    OutboxEvent,
    PaymentEvent,
    TopUp,
)
from billing.proof import prove
from tests.books import NOWHERE, assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price
from tests.fakes.stripe import (
    FakeStripe,
    disputed,
    refunded,
    session_paid,
)
from tests.payments.conftest import DOLLAR, Customer, asked, balance, state, tell


def use(database: str, acme: Customer, dollars: int) -> None:
    version, price = make_price("m", output_usd="1000000")
    request = hold_request(acme.tenant, version, dollars * DOLLAR)
    run_tick(database, holds=[request])
    closing = settlement(request.request_id, price, input_tokens=0, output_tokens=dollars)
    run_tick(database, closings=[closing])


def test_a_refund_takes_back_what_is_free_and_what_was_used_is_the_platforms_loss(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)
    tell(session_paid("evt_1", top_up))
    use(database, acme, 10)

    said = [tell(refunded("evt_2", 2500)), tell(refunded("evt_2", 2500))]

    grant = CreditGrant.objects.get()
    assert said == [(200, "applied")] * 2
    assert (grant.voided_nanos, grant.remaining_nanos) == (15 * DOLLAR, 0)
    assert acme.tenant.account.deferred_nanos == 0
    assert (balance("cash:stripe"), balance("platform_loss")) == (0, 10 * DOLLAR)
    assert AuditEvent.objects.get(action="topup.loss").after == {
        "amount_usd": "10.000000000",
        "reason": f"payment of {top_up} was given back",
    }
    assert OutboxEvent.objects.filter(kind="topup.loss").count() == 1
    assert_proven(database)


def test_a_part_refunded_takes_back_that_part_whatever_the_order_of_the_tellings(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))

    for event_id, cents in (("evt_2", 700), ("evt_3", 500), ("evt_4", 900)):
        tell(refunded(event_id, cents))

    assert CreditGrant.objects.get().voided_nanos == 9 * DOLLAR
    assert TopUp.objects.get().returned_nanos == 9 * DOLLAR
    assert balance("cash:stripe") == 16 * DOLLAR
    assert_proven(database)


def test_a_dispute_takes_back_and_never_more_than_was_paid(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))
    tell(refunded("evt_2", 1000))

    tell(disputed("evt_3", 2500))
    tell(disputed("evt_4", 2500))

    assert CreditGrant.objects.get().voided_nanos == 25 * DOLLAR
    assert (balance("cash:stripe"), balance("platform_loss")) == (0, 0)
    assert_proven(database)


def test_money_given_back_before_its_payment_is_told_is_taken_back_with_it(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    top_up = asked(acme)

    early = [tell(disputed("evt_1", 2500)), tell(disputed("evt_1", 2500))]
    tell(session_paid("evt_2", top_up))

    assert early == [(200, "waiting")] * 2
    assert (state(top_up), TopUp.objects.get().returned_nanos) == ("paid", 25 * DOLLAR)
    assert acme.tenant.account.deferred_nanos == 0
    assert PaymentEvent.objects.get(pk="evt_1").outcome == "applied"
    assert_proven(database)


def test_a_refund_in_another_currency_takes_nothing_and_is_told(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))

    assert tell(refunded("evt_2", 2500, currency="jpy")) == (200, "quarantined")
    assert acme.tenant.account.deferred_nanos == 25 * DOLLAR
    assert_proven(database)


@pytest.mark.tampers
def test_cash_that_no_top_up_brought_is_named_by_the_proof(
    database: str, acme: Customer, stripe: FakeStripe
) -> None:
    tell(session_paid("evt_1", asked(acme)))
    assert_proven(database)

    TopUp.objects.update(amount_nanos=20 * DOLLAR)

    with connect_sync(database, "proof", statement_timeout_ms=60_000) as proving:
        findings = {found.number: found.rows for found in prove(proving, NOWHERE).findings}
    org = acme.tenant.org.public_id
    assert findings["I27"] == [[org, str(25 * DOLLAR), str(20 * DOLLAR)]]

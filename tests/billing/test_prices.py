"""Price versions: graduated tiers, organizations' own, free models, never edited."""

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.invoices import run_month
from billing.models import InvoiceLine, PriceVersion, UsageEvent
from billing.prices import PriceSpec, as_price, current_price, publish
from billing.pricing import Price, Tier
from billing.usage import Usage
from kernel import clock
from kernel.errors import ConflictError, TollgateError
from kernel.money import parse_usd
from tests.billing.past import use_at
from tests.billing.test_invoices import age, last_month
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_tenant

USD = 10**9


@st.composite
def rising_tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    bounds = sorted(draw(st.sets(st.integers(1, 10**6), min_size=1, max_size=4)))
    return tuple(Tier(bound, draw(st.integers(0, 10**12))) for bound in bounds)


def by_hand(quantity: int, first: int, tiers: tuple[Tier, ...]) -> Fraction:
    """Price unit after unit would be slow; price stretch after stretch."""
    edges = [0, *(tier.above for tier in tiers), max(quantity, tiers[-1].above + 1)]
    prices = [first, *(tier.nanos for tier in tiers)]
    return sum(
        (
            Fraction(max(0, min(quantity, high) - low) * price, 10**6)
            for low, high, price in zip(edges, edges[1:], prices, strict=False)
        ),
        Fraction(),
    )


@given(st.integers(0, 2 * 10**6), st.integers(0, 10**12), rising_tiers())
def test_a_graduated_charge_is_the_sum_of_its_stretches_rounded_once(
    quantity: int, first: int, tiers: tuple[Tier, ...]
) -> None:
    price = Price(1, Usage(input=first), {"input": tiers})

    charge = price.charge(Usage(input=quantity))

    assert charge == round(by_hand(quantity, first, tiers))
    assert charge <= price.ceiling(input_tokens=quantity, output_tokens=0)


def test_what_lies_below_a_tier_keeps_its_price() -> None:
    price = Price(1, Usage(input=2 * USD), {"input": (Tier(200_000, 4 * USD),)})

    assert price.charge(Usage(input=200_000)) == 400_000_000
    assert price.charge(Usage(input=200_001)) == 400_004_000
    assert price.charge(Usage(input=300_000)) == 800_000_000


def test_tiers_hold_in_the_books_and_stand_on_the_invoice_line_by_line(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(mode="postpaid", credit_usd="0", credit_limit_usd="100"), month)
    version = publish(
        PriceSpec("m", Usage(input=1 * USD, output=2 * USD), {"input": (Tier(1_000, 3 * USD),)}),
        actor="test",
    )
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_priceversion disable trigger append_only")
        cursor.execute("update billing_priceversion set effective_from = %s", [month.start("UTC")])
        cursor.execute("alter table billing_priceversion enable trigger append_only")
    priced = (version, as_price(version))
    for tokens in (400, 1_500, 2_000):
        use_at(database, acme, at, priced, input_tokens=tokens, output_tokens=10)

    (invoice,) = run_month(month)

    charges = UsageEvent.objects.order_by("amount_nanos").values_list("amount_nanos", flat=True)
    assert list(charges) == [420_000, 2_520_000, 4_020_000]
    lines = InvoiceLine.objects.filter(invoice=invoice).order_by("seq")
    assert [(x.bucket, int(x.quantity), x.price_nanos, x.amount_nanos) for x in lines] == [
        ("input", 2_400, 1 * USD, 2_400_000),
        ("input", 1_500, 3 * USD, 4_500_000),
        ("output", 30, 2 * USD, 60_000),
    ]
    assert_proven(database)


def test_an_organizations_own_price_goes_before_the_list(database: str) -> None:
    acme, globex = make_tenant(), make_tenant("Globex")
    listed = publish(PriceSpec("m", Usage(input=5)), actor="test")
    own = publish(PriceSpec("m", Usage(input=3), org=acme.org), actor="test")

    assert current_price("m", acme.org) == own
    assert current_price("m", globex.org) == listed
    assert current_price("m") == listed


def test_a_price_to_come_takes_over_at_its_time(database: str) -> None:
    now = publish(PriceSpec("m", Usage(input=5)), actor="test")
    later = clock.now() + timedelta(days=1)
    publish(PriceSpec("m", Usage(input=9), effective_from=later), actor="test")

    assert current_price("m") == now


def test_a_free_model_holds_nothing_and_runs_without_credit(database: str) -> None:
    acme = make_tenant(credit_usd="0")
    version = publish(PriceSpec("m", Usage(), is_free=True), actor="test")
    price = as_price(version)
    request = hold_request(acme, version, 0)
    free = type(request)(
        request.request_id,
        acme.org.pk,
        acme.project.pk,
        acme.key.pk,
        "m",
        version.pk,
        0,
        60,
        is_free=True,
    )

    refused = run_tick(database, holds=[request])
    held = run_tick(database, holds=[free])
    closed = run_tick(
        database, closings=[settlement(free.request_id, price, input_tokens=7, output_tokens=9)]
    )

    assert [refusal and refusal.why for refusal in refused.held.values()] == ["amount"]
    assert held.held == {free.request_id: None}
    assert closed.closed == {free.request_id: "settled"}
    usage = UsageEvent.objects.get()
    assert (usage.output, usage.amount_nanos, usage.ledger_txn_id) == (9, 0, None)
    assert_proven(database)


@pytest.mark.parametrize(
    "how",
    [
        {"per_million": Usage()},
        {"per_million": Usage(input=1), "is_free": True},
        {"per_million": Usage(input=-1)},
        {"per_million": Usage(input=2**63)},
        {"per_million": Usage(input=True)},
        {"per_million": Usage(input=1), "tiers": {"words": (Tier(1, 1),)}},
        {"per_million": Usage(input=1), "tiers": {"input": ()}},
        {"per_million": Usage(input=1), "tiers": {"input": (Tier(5, 1), Tier(5, 2))}},
        {"per_million": Usage(input=1), "tiers": {"input": (Tier(0, 1),)}},
        {"per_million": Usage(input=1), "tiers": {"input": (Tier(5, -1),)}},
    ],
)
def test_a_price_that_cannot_be_is_refused_and_nothing_is_published(
    database: str, how: dict[str, Any]
) -> None:
    with pytest.raises(TollgateError):
        publish(PriceSpec("m", **how), actor="test")

    assert PriceVersion.objects.count() == 0


def test_prices_have_no_past_no_twins_and_no_second_text(database: str) -> None:
    at = clock.now() + timedelta(hours=1)
    publish(PriceSpec("m", Usage(input=parse_usd("1")), effective_from=at), actor="test")

    with pytest.raises(TollgateError):
        publish(PriceSpec("m", Usage(input=1), effective_from=at - timedelta(days=1)), actor="test")
    with pytest.raises(ConflictError):
        publish(PriceSpec("m", Usage(input=2), effective_from=at), actor="test")
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceVersion.objects.update(input_nanos=1)

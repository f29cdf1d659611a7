"""An answer out of the cache costs a share of its price, exactly: in the books, on the invoice."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.database import connect_sync
from billing.holds import Outcome, parse_closing
from billing.invoice_document import _bucket
from billing.invoices import run_month
from billing.models import InvoiceLine, NetUsage, UsageEvent
from billing.price_preview import preview_price
from billing.prices import PriceSpec, as_price, publish
from billing.pricing import Price, Tier
from billing.proof import prove
from billing.usage import BUCKETS, Usage
from kernel.money import NANOS_PER_DOLLAR as USD
from tests.billing.past import use_at
from tests.billing.test_invoices import age, last_month, old_price
from tests.books import NOWHERE, assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant

prices = st.builds(Usage, **dict.fromkeys(BUCKETS, st.integers(0, 10**13)))
usages = st.builds(Usage, **dict.fromkeys(BUCKETS, st.integers(0, 10**9)))


@given(usages, prices, st.integers(0, 100))
def test_it_is_the_share_of_the_exact_sum_rounded_half_to_even_once(
    usage: Usage, per_million: Usage, percent: int
) -> None:
    exact = sum(
        Fraction(getattr(usage, bucket) * getattr(per_million, bucket) * percent, 10**8)
        for bucket in BUCKETS
    )

    assert Price(1, per_million).from_cache(percent).charge(usage) == round(exact)


@given(st.integers(0, 10**6), st.integers(0, 10**6), prices, st.integers(0, 100))
def test_it_never_costs_more_than_its_ceiling(
    read: int, written: int, per_million: Usage, percent: int
) -> None:
    price = Price(1, per_million._replace(image=0, request=0)).from_cache(percent)
    charge = price.charge(Usage(input=read, output=written))

    assert charge <= price.ceiling(input_tokens=read, output_tokens=written)
    assert price.charge(Usage(output=written)) <= price.output_ceiling(written)


def test_at_nothing_per_cent_it_is_free() -> None:
    price = Price(1, Usage(input=USD)).from_cache(0)

    assert price.is_free
    assert price.ceiling(input_tokens=10**6, output_tokens=0) == 0
    assert not Price(1, Usage(input=USD)).from_cache(1).is_free


def test_the_books_take_the_share_and_prove_it_with_tiers_and_halves(database: str) -> None:
    acme = make_tenant()
    version = publish(
        PriceSpec("m", Usage(input=5_000_000, output=2 * USD), {"input": (Tier(1_000, 3 * USD),)}),
        actor="test",
    )
    requests = []
    for percent, tokens in ((10, 1_000_000), (10, 1), (10, 3), (50, 1_000), (0, 1_000), (100, 7)):
        price = as_price(version).from_cache(percent)
        request = hold_request(acme, version, 10**9)
        request = request._replace(amount_nanos=0, is_free=True) if price.is_free else request
        closing = settlement(request.request_id, price, input_tokens=tokens, output_tokens=1)
        assert parse_closing(closing.as_row()) == closing
        run_tick(database, holds=[request])
        run_tick(database, closings=[closing])
        requests.append(request.request_id)

    rows = [UsageEvent.objects.get(request_id=request_id) for request_id in requests]
    assert [(row.cache_percent, row.amount_nanos) for row in rows] == [
        (10, 299_700_700),
        (10, 200),  # 200.5
        (10, 202),  # 201.5
        (50, 3_500),
        (0, 0),
        (100, 2_035),
    ]
    assert acme.account.deferred_nanos == 100 * USD - sum(row.amount_nanos for row in rows)
    assert_proven(database)


@pytest.mark.tampers
def test_the_proof_names_a_share_that_was_not_charged(database: str) -> None:
    acme = make_tenant()
    version, price = make_price()
    request = hold_request(acme, version, 10_000)
    closing = settlement(request.request_id, price, input_tokens=1, output_tokens=1)
    run_tick(database, holds=[request])
    run_tick(database, closings=[replace(closing, cache_percent=10)])

    with connect_sync(database, "proof", statement_timeout_ms=60_000) as proving:
        broken = [found.number for found in prove(proving, NOWHERE).findings if found.rows]

    assert broken == ["I11a"]


def test_cached_answers_have_lines_of_their_own_on_the_invoice(database: str) -> None:
    month, at = last_month()
    acme = age(make_tenant(mode="postpaid", credit_usd="0", credit_limit_usd="100"), month)
    version, price = old_price(month, input_usd="1.50", output_usd="2.50")
    use_at(database, acme, at, (version, price), input_tokens=1_000, output_tokens=100)
    for percent in (10, 10, 0):
        cached = (version, price.from_cache(percent))
        use_at(database, acme, at, cached, input_tokens=1_000, output_tokens=100)

    (invoice,) = run_month(month)

    lines = list(InvoiceLine.objects.filter(invoice=invoice).order_by("seq"))
    assert {
        (line.cache_percent, line.bucket, int(line.quantity), line.price_nanos, line.amount_nanos)
        for line in lines
    } == {
        (None, "input", 1_000, 1_500_000_000, 1_500_000),
        (None, "output", 100, 2_500_000_000, 250_000),
        (10, "input", 2_000, 150_000_000, 300_000),
        (10, "output", 200, 250_000_000, 50_000),
    }
    assert {_bucket(line) for line in lines if line.cache_percent} == {
        "input, cached (10 %)",
        "output, cached (10 %)",
    }
    assert invoice.usage_nanos == 2_100_000
    assert_proven(database)


def test_a_preview_charges_cached_answers_their_share(database: str) -> None:
    acme = make_tenant()
    version, price = make_price()
    for each in (price, price.from_cache(10)):
        request = hold_request(acme, version, 10**9)
        closing = settlement(request.request_id, each, input_tokens=3_000, output_tokens=0)
        run_tick(database, holds=[request])
        run_tick(database, closings=[closing])

    doubled = PriceSpec("m", Usage(input=2 * USD), {"input": (Tier(2_000, 5 * USD),)})
    (effect,) = preview_price(doubled, days=1)

    assert effect.charged_nanos == 3_300_000
    assert effect.would_be_nanos == 9_000_000 + 900_000


def test_a_reversal_takes_the_share_back(database: str) -> None:
    acme = make_tenant()
    version, price = make_price("m", output_usd="1.00")
    first, again = (
        hold_request(acme, version, 5_000)._replace(idem_key="alice-1", idem_body="same")
        for _ in range(2)
    )
    closing = settlement(first.request_id, price.from_cache(10), input_tokens=0, output_tokens=100)
    run_tick(database, holds=[first])
    run_tick(database, closings=[replace(closing, outcome=Outcome.INTERRUPTED)])
    run_tick(database, holds=[again])

    rows = NetUsage.objects.order_by("calls").values_list("calls", "amount_nanos", "cache_percent")
    assert list(rows) == [(-1, -10_000 + 5_000, 10), (1, 5_000, 10)]

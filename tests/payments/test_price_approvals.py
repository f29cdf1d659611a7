"""Where prices wait for a second person, none is published by one alone, at any door."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from billing.models import Approval, PriceVersion
from billing.payments.approvals import approve, offer_price, reject
from billing.prices import PriceSpec, text_price
from billing.pricing import Tier
from gateway.models import Provider
from gateway.offers import create_model, create_provider, price_model
from kernel import clock
from kernel.errors import BadRequestError, ForbiddenError
from kernel.money import parse_usd
from tests.commands.manage import Here, here
from tests.factories import make_tenant

__all__ = ["here"]

CAROL, DAVE = "carol@example.com", "dave@example.com"
PRICE = text_price(parse_usd("2.50"), parse_usd("10"))


@pytest.fixture(autouse=True)
def careful(database: str, settings: Any) -> None:
    """A model without a price, and two operators. Prices wait for the second."""
    for email in (CAROL, DAVE):
        User.objects.create_superuser(email)
    create_provider(
        "up",
        kind=Provider.Kind.OPENAI,
        base_url="https://up.example.com/v1",
        credential="sk-x",
        actor="test",
    )
    create_model("m", provider="up", upstream_model="u", price=None, actor="test")
    settings.PRICE_APPROVAL = True
    assert database


def operator(email: str) -> User:
    return User.objects.get(email=email)


def test_a_price_is_published_once_another_approves_and_names_both() -> None:
    acme = make_tenant()
    at = clock.now() + timedelta(days=1)
    spec = PriceSpec("m", PRICE, {"input": (Tier(1_000, 5),)}, org=acme.org, effective_from=at)

    approval = price_model(spec, actor=CAROL)

    assert isinstance(approval, Approval)
    assert PriceVersion.objects.count() == 0
    with pytest.raises(ForbiddenError):
        approve(approval.public_id, approver=operator(CAROL))
    assert PriceVersion.objects.count() == 0
    approve(approval.public_id, approver=operator(DAVE))
    version = PriceVersion.objects.get()
    assert (version.created_by, version.approved_by) == (CAROL, DAVE)
    assert (version.model, version.org_id, version.effective_from) == ("m", acme.org.pk, at)
    assert version.as_prices() == PRICE
    assert version.tiers_by_bucket == {"input": [[1_000, 5]]}


def test_every_door_waits_and_publishes_nothing(here: Here) -> None:
    client = Client()
    client.force_login(operator(CAROL))

    commands = (
        here("price", "set", "m", "--input", "2", "--json").json,
        here("model", "price", "m", "--price-input", "2", "--price-output", "3", "--json").json,
    )
    posted = client.post(
        "/operator/api/prices",
        {"model": "m", "usd_per_million": {"input": "2"}},
        content_type="application/json",
    )
    create_model("n", provider="up", upstream_model="u", price=PRICE, actor=CAROL)

    assert posted.status_code == 202
    kept = [*(said["approval"] for said in commands), posted.json()["approval"]]
    assert kept == list(Approval.objects.order_by("id").values_list("public_id", flat=True))[:3]
    assert Approval.objects.count() == 4
    assert PriceVersion.objects.count() == 0
    assert client.get("/admin/billing/priceversion/add/").status_code == 403


def test_a_bad_price_is_refused_before_anybody_is_asked() -> None:
    past = PriceSpec("m", PRICE, effective_from=clock.now() - timedelta(days=1))
    for spec in (past, PriceSpec("m", text_price(0, 0))):
        with pytest.raises(BadRequestError):
            offer_price(spec, actor=CAROL)

    assert Approval.objects.count() == 0


def test_a_rejected_price_is_never_published() -> None:
    approval = offer_price(PriceSpec("m", PRICE), actor=CAROL)
    assert isinstance(approval, Approval)

    reject(approval.public_id, approver=operator(DAVE), reason="too low")

    assert PriceVersion.objects.count() == 0


def test_without_the_setting_a_price_is_published_at_once(settings: Any) -> None:
    settings.PRICE_APPROVAL = False

    offered = offer_price(PriceSpec("m", PRICE), actor=CAROL)

    assert isinstance(offered, PriceVersion)
    assert Approval.objects.count() == 0

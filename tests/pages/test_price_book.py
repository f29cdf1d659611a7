"""The price book's API: for signed-in operators, with a CSRF token to write."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from billing.models import PriceVersion
from tests.pages.conftest import PASSWORD, Cast

PRICE = {"model": "gpt-4o", "usd_per_million": {"input": "3.00", "output": "9.00"}}


@pytest.fixture
def olivia(cast: Cast) -> Client:
    """An operator's session."""
    return cast.signed_in(User.objects.create_user("olivia@example.com", PASSWORD, is_staff=True))


def post(client: Client, path: str, body: Any) -> Any:
    sent = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"/operator/api/{path}", sent, content_type="application/json")


def test_an_operator_publishes_a_price_and_finds_it_in_the_book(cast: Cast, olivia: Client) -> None:
    spec = {**PRICE, "organization": cast.acme.org.public_id, "tiers": {"input": [[9, "4.00"]]}}

    made = post(olivia, "prices", spec)
    listed = olivia.get("/operator/api/prices", {"model": "gpt-4o"}).json()

    assert made.status_code == 201
    assert made.json()["usd_per_million"] == {"input": "3.00", "output": "9.00"}
    assert (made.json()["created_by"], made.json()["tiers"]) == (
        "olivia@example.com",
        {"input": [[9, "4.00"]]},
    )
    assert [row["organization"] for row in listed["data"]] == [cast.acme.org.public_id, None]


def test_a_preview_publishes_nothing(cast: Cast, olivia: Client) -> None:
    before = PriceVersion.objects.count()

    shown = post(olivia, "prices/preview", {**PRICE, "days": 7})

    assert (shown.status_code, shown.json()["data"]) == (200, [])
    assert PriceVersion.objects.count() == before


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("{", None),
        ("[]", None),
        ({**PRICE, "modle": 1}, "modle"),
        ({**PRICE, "model": ""}, "model"),
        ({**PRICE, "usd_per_million": {"words": "1"}}, "usd_per_million"),
        ({**PRICE, "usd_per_million": {"input": 3.0}}, None),
        ({**PRICE, "usd_per_million": {"input": "NaN"}}, None),
        ({**PRICE, "usd_per_million": {"input": "-1"}}, None),
        ({**PRICE, "usd_per_million": {"input": "1e3"}}, None),
        ({**PRICE, "tiers": {"input": [["9", "1"]]}}, "tiers"),
        ({**PRICE, "tiers": {"input": [[True, "1"]]}}, "tiers"),
        ({**PRICE, "tiers": {"input": [9]}}, "tiers"),
        ({**PRICE, "effective_from": "2027-01-01"}, "effective_from"),
        ({**PRICE, "effective_from": 5}, "effective_from"),
        ({**PRICE, "free": 1}, "free"),
        ({**PRICE, "organization": 5}, "organization"),
    ],
)
def test_a_price_that_cannot_be_read_is_400_and_publishes_nothing(
    cast: Cast, olivia: Client, body: Any, param: str | None
) -> None:
    before = PriceVersion.objects.count()

    answer = post(olivia, "prices", body)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    if param is not None:
        assert answer.json()["error"]["param"] == param
    assert PriceVersion.objects.count() == before


def test_nobody_but_an_operator_sees_or_writes_prices(cast: Cast) -> None:
    before = PriceVersion.objects.count()

    for client, status in ((Client(), 401), (cast.signed_in(cast.alice), 403)):
        assert client.get("/operator/api/prices").status_code in {status, 403}
        assert post(client, "prices", PRICE).status_code in {status, 403}
        assert post(client, "prices/preview", PRICE).status_code in {status, 403}
    assert PriceVersion.objects.count() == before


def test_writing_needs_the_csrf_token(cast: Cast) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_user("o@example.com", PASSWORD, is_staff=True))

    answer = post(strict, "prices", PRICE)

    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"

"""The stored answer of a fallback is a hit too: that model's, under its limits, at its price."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.models import Hold, PriceVersion, UsageEvent
from tests.books import assert_proven
from tests.calls import HELLO, post, wait_for
from tests.factories import make_tenant
from tests.gateway.routing.falling_back import BrokenHouse, open_broken_house


@pytest.fixture(scope="module")
def broken_house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokenHouse]:
    with open_broken_house(django_db_blocker, tmp_path_factory.mktemp("broken")) as opened:
        yield opened


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_fallback_answered_is_given_again_without_asking_anybody(
    broken_house: BrokenHouse, *, streamed: bool
) -> None:
    acme = make_tenant()
    body = {"models": ["broken", "mock"], "messages": HELLO, "stream": streamed}
    header = {"x-tollgate-cache": "ttl=60"}

    first = post(broken_house.api.url, acme.key_text, body, **header)
    asked = len(broken_house.broken.asked)
    again = post(broken_house.api.url, acme.key_text, body, **header)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.headers["x-tollgate-cache"] == "miss"
    assert again.headers["x-tollgate-cache"] == "hit"
    assert len(broken_house.broken.asked) == asked > 0
    held = Hold.objects.filter(org_id=acme.org.pk, state="held")
    found = UsageEvent.objects.filter(org_id=acme.org.pk).order_by("occurred_at")
    wait_for(lambda: found.count() == 2 and not held.exists(), what="the usage rows")
    miss, hit = found
    version = PriceVersion.objects.get(model="mock")
    assert [(row.model, row.price_version_id) for row in (miss, hit)] == [("mock", version.pk)] * 2
    assert (miss.cache_percent, hit.cache_percent) == (None, 10)
    assert hit.amount_nanos * 10 == miss.amount_nanos
    assert_proven(broken_house.stores.database_url, broken_house.journals)

"""The share that an answer out of the cache costs is a setting, down to nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import chat_body, post, wait_for
from tests.factories import make_tenant
from tests.stage import House, open_house


@pytest.fixture(scope="module")
def free_house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("free")
    with open_house(django_db_blocker, folder, CACHE_PRICE_PERCENT="0") as opened:
        yield opened


@pytest.mark.parametrize("streamed", [False, True])
def test_at_nothing_per_cent_a_hit_holds_and_costs_nothing(
    free_house: House, *, streamed: bool
) -> None:
    poor = make_tenant("Poor", credit_usd="0.0022")
    body = chat_body(max_tokens=1_000, mock={"chunks": 900}, stream=streamed)
    header = {"x-tollgate-cache": "ttl=60"}

    first, again = (post(free_house.api.url, poor.key_text, body, **header) for _ in range(2))
    plain = post(free_house.api.url, poor.key_text, body)

    assert [each.headers.get("x-tollgate-cache") for each in (first, again)] == ["miss", "hit"]
    assert plain.status_code == 402
    found = UsageEvent.objects.filter(org_id=poor.org.pk).order_by("-amount_nanos")
    wait_for(lambda: found.count() == 2, what="the usage rows")
    miss, hit = found
    assert (miss.amount_nanos, miss.output) == (9 * 1_000 + 900 * 2_000, 900)
    assert (hit.amount_nanos, hit.output, hit.cache_percent) == (0, 900, 0)
    assert poor.account.deferred_nanos == 2_200_000 - miss.amount_nanos
    assert_proven(free_house.stores.database_url, free_house.journals)

"""The first page: every number on it is the books' number, and nobody sees another's."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.cache import cache
from django.db import connection
from django.test import Client

from accounts.models import Member, Organization
from billing import overview
from billing.invoices import Month, run_month
from billing.models import UsageEvent
from billing.organizations import add_member
from billing.overview import read_balance, read_spend
from tests.billing.past import use_at
from tests.factories import ACTOR, make_price, make_tenant
from tests.pages.conftest import Cast
from tests.pages.month import seed_month

pytestmark = pytest.mark.tampers

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def html(client: Client, path: str = "/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def figure(page: str, name: str) -> str:
    found = re.search(rf'data-figure="{name}"[^>]*>([^<]*)<', page)
    assert found is not None
    return found[1]


def test_the_month_begins_at_midnight_of_the_organizations_own_zone(cast: Cast) -> None:
    priced = make_price()
    midnight = datetime(2026, 11, 1, tzinfo=BERLIN)
    times = (midnight - timedelta(seconds=1), midnight, datetime(2026, 11, 21, 8, tzinfo=UTC))
    for at in times:
        use_at(cast.database_url, cast.acme, at, priced, input_tokens=10**6, output_tokens=0)

    with time_machine.travel(NOW, tick=False):
        page = html(cast.signed_in(cast.alice))

    assert figure(page, "month") == "$2.00"
    assert figure(page, "month-calls") == "2"
    assert figure(page, "today") == "$1.00"
    assert "times in Europe/Berlin (UTC+01:00)" in page


def test_page_ledger_and_invoice_say_the_same_of_a_month(cast: Cast) -> None:
    priced = make_price()
    Organization.objects.update(created_at=datetime(2026, 8, 1, tzinfo=UTC))
    for day in range(1, 31):
        at = datetime(2026, 9, day, 22, 30, tzinfo=UTC)  # the 30th is 1 October in Berlin
        use_at(cast.database_url, cast.acme, at, priced, input_tokens=day * 1001, output_tokens=7)

    with time_machine.travel(datetime(2026, 9, 30, 21, 59, tzinfo=UTC), tick=False):
        spend = read_spend(cast.acme.org)
    invoices = [i for i in run_month(Month(2026, 9)) if i.org_id == cast.acme.org.pk]

    assert spend.month_nanos == sum(day * 1001 * 1000 + 7 * 2000 for day in range(1, 30))
    assert [invoice.usage_nanos for invoice in invoices] == [spend.month_nanos]
    assert spend.chart_nanos == spend.month_nanos


def test_the_chart_the_keys_and_the_months_calls_add_up(cast: Cast) -> None:
    total = seed_month(cast.acme.org, [cast.acme.key], days=20, calls_a_day=4)
    spend = read_spend(cast.acme.org)

    assert spend.chart_nanos == total
    assert sum(day.calls for day in spend.days) == UsageEvent.objects.count()
    assert spend.by_key[cast.acme.key.pk].month_nanos == spend.month_nanos
    assert len(spend.days) == 30


def test_past_days_come_from_roll_ups_and_late_usage_is_in_them_at_once(cast: Cast) -> None:
    priced = make_price()
    with time_machine.travel(NOW, tick=False):
        read = []
        for _ in range(2):
            at = NOW - timedelta(days=2)
            use_at(cast.database_url, cast.acme, at, priced, input_tokens=10**6, output_tokens=0)
            read.append(read_spend(cast.acme.org).month_nanos)

    assert read == [10**9, 2 * 10**9]


def test_where_days_begin_within_an_hour_a_slow_sum_is_kept_while_new_calls_still_count(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.acme.org.timezone = "Asia/Kathmandu"
    monkeypatch.setattr(overview, "SLOW_S", -1)
    monkeypatch.setattr(overview, "KEPT_TIMES", 10**6)
    priced = make_price()

    def use(at: datetime) -> None:
        use_at(cast.database_url, cast.acme, at, priced, input_tokens=10**6, output_tokens=0)

    with time_machine.travel(NOW, tick=False):
        use(NOW - timedelta(days=2))
        first = read_spend(cast.acme.org).month_nanos
        use(NOW - timedelta(minutes=1))
        use(NOW - timedelta(days=2))
        kept = read_spend(cast.acme.org).month_nanos
        cache.clear()
        fresh = read_spend(cast.acme.org).month_nanos

    assert (first, kept, fresh) == (10**9, 2 * 10**9, 3 * 10**9)


def test_the_table_beside_the_chart_says_what_the_bars_say(cast: Cast) -> None:
    seed_month(cast.acme.org, [cast.acme.key], days=3, calls_a_day=2)
    page = html(cast.signed_in(cast.alice))
    table = page[page.index('<details class="twin"') : page.index("</details>", page.index("twin"))]

    assert page.count('<rect class="chart-bar"') == 30
    assert table.count("<tr>") == 31


def test_what_running_calls_hold_is_beside_the_balance_and_out_of_it(cast: Cast) -> None:
    at = datetime.now(UTC)
    use_at(
        cast.database_url,
        cast.acme,
        at,
        make_price(),
        input_tokens=2 * 10**6,
        output_tokens=0,
        settle=False,
    )

    page = html(cast.signed_in(cast.alice))

    assert figure(page, "available") == "$98.00"
    assert figure(page, "reserved") == "$2.00"
    assert "1 running call" in page
    assert "≤ $2.00" in page
    assert read_balance(cast.acme.org).running_calls == 1


def test_available_is_what_admission_would_let_through_on_account(cast: Cast) -> None:
    owing = make_tenant("Owing", mode="hybrid", credit_usd="1", credit_limit_usd="10")
    at = datetime.now(UTC)
    use_at(cast.database_url, owing, at, make_price(), input_tokens=3 * 10**6, output_tokens=0)

    balance = read_balance(owing.org)

    assert balance.owed_nanos == 2 * 10**9
    assert balance.available_nanos == 8 * 10**9


def test_before_the_first_call_the_way_to_it_is_shown_and_leaves_when_it_comes(cast: Cast) -> None:
    client = cast.signed_in(cast.alice)
    empty = html(client)
    before = client.get("/live/calls?first=1")

    at = datetime.now(UTC)
    use_at(cast.database_url, cast.acme, at, make_price(), input_tokens=10, output_tokens=1)
    after = client.get("/live/calls?first=1")

    assert "Make your first call" in empty
    assert "HX-Refresh" not in before
    assert after["HX-Refresh"] == "true"
    assert "Make your first call" not in html(client)


def test_a_stranger_sees_nothing_of_another_organization(cast: Cast) -> None:
    seed_month(cast.acme.org, [cast.acme.key], days=2, calls_a_day=2)
    client = cast.signed_in(cast.mallory)
    org = cast.acme.org.public_id

    for path in ("/", "/keys/", "/keys/new", "/live/balance", "/live/calls", "/live/keys"):
        assert client.get(f"{path}?org={org}").status_code == 404
    page = html(client)
    assert cast.acme.key.public_id not in page
    assert figure(page, "month") == "$0.00"


def test_a_person_of_two_organizations_stays_in_the_one_they_chose(cast: Cast) -> None:
    add_member(cast.other.org, cast.alice, Member.Role.VIEWER, actor=ACTOR)
    client, org = cast.signed_in(cast.alice), cast.other.org.public_id

    first, chosen = html(client), html(client, f"/?org={org}")

    assert "<h1>Acme</h1>" in first
    assert "<h1>Mallory &amp; Sons</h1>" in chosen
    assert f'hx-get="/live/balance?org={org}"' in chosen
    assert f'data-live="/live/?org={org}"' in chosen
    assert f'href="/keys/?org={org}"' in chosen


def test_pages_carry_no_inline_style_or_script_and_a_strict_policy(cast: Cast) -> None:
    seed_month(cast.acme.org, [cast.acme.key], days=2, calls_a_day=2)
    client = cast.signed_in(cast.alice)

    for path in ("/", "/keys/", "/keys/new", f"/keys/{cast.acme.key.public_id}/revoke"):
        answer = client.get(path)
        page = answer.content.decode()
        assert not re.search(r"<[^>]+\sstyle=|<style|<script(?![^>]*\ssrc=)|\son\w+=", page)
        assert "unsafe" not in answer["content-security-policy"]
        assert "default-src 'none'" in answer["content-security-policy"]
        assert "no-store" in answer["cache-control"]


def test_a_page_asks_the_same_number_of_queries_however_many_keys_and_calls(cast: Cast) -> None:
    def queries() -> int:
        client = cast.signed_in(cast.alice)
        connection.force_debug_cursor = True
        connection.queries_log.clear()
        html(client)
        connection.force_debug_cursor = False
        return len(connection.queries_log)

    seed_month(cast.acme.org, [cast.acme.key], days=1, calls_a_day=1)
    few = queries()
    seed_month(cast.acme.org, [cast.acme.key], days=5, calls_a_day=8)

    assert queries() == few


@pytest.mark.django_db
def test_queries_of_pages_are_not_compiled() -> None:
    """Compiling takes longer than all of them, and begins by the planner's guess of a day."""
    with connection.cursor() as cursor:
        cursor.execute("show jit")

        assert cursor.fetchone() == ("off",)

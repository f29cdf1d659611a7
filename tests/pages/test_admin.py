"""The operators' browser: it opens every list, counts no ledger, and changes no money."""

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, AuditEvent, User
from billing.models import Budget, Hold, LedgerTransaction, PriceVersion
from billing.usage import BUCKETS
from gateway.models import Provider
from gateway.offers import create_provider
from pages.admin import MOST_LISTED
from tests.pages.conftest import PASSWORD, Cast
from tests.pages.month import seed_month

pytestmark = pytest.mark.tampers

TIMES = [field.name for field in Provider._meta.fields if field.name.endswith("_timeout_s")]
OURS = ("accounts", "billing", "gateway")


@pytest.fixture
def operator(cast: Cast) -> Client:
    seed_month(cast.acme.org, [cast.acme.key], days=2, calls_a_day=3)
    return cast.signed_in(User.objects.create_superuser("operator@example.com", PASSWORD))


def test_every_list_and_a_row_of_each_opens(operator: Client) -> None:
    for model in admin.site._registry:
        if model._meta.app_label not in OURS:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert operator.get(reverse(f"{name}_changelist")).status_code == 200
        row = model._default_manager.first()
        if row is not None:
            assert operator.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200


def test_money_tables_and_the_audit_trail_are_only_seen(operator: Client) -> None:
    for model, model_admin in admin.site._registry.items():
        is_money = model._meta.app_label == "billing" or model is AuditEvent
        if not is_money or model is Budget:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        if model is not PriceVersion:
            assert operator.get(reverse(f"{name}_add")).status_code == 403
        row = model._default_manager.first()
        if row is None:
            continue
        before = type(row).objects.filter(pk=row.pk).values().get()  # type: ignore[attr-defined]
        assert operator.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
        assert operator.post(reverse(f"{name}_delete", args=[row.pk])).status_code == 403
        assert type(row).objects.filter(pk=row.pk).values().get() == before  # type: ignore[attr-defined]
        assert "delete_selected" not in model_admin.get_actions(_request(operator))


def test_a_list_never_counts_past_its_bound(operator: Client) -> None:
    connection.force_debug_cursor = True
    connection.queries_log.clear()
    operator.get(reverse("admin:billing_ledgertransaction_changelist"))
    connection.force_debug_cursor = False

    counts = [q["sql"] for q in connection.queries_log if "COUNT(" in q["sql"].upper()]

    assert counts
    assert all(f"LIMIT {MOST_LISTED}" in sql for sql in counts)


def test_entries_and_usage_stand_on_the_page_of_their_transaction(operator: Client) -> None:
    txn = LedgerTransaction.objects.filter(kind="usage").latest("pk")

    page = operator.get(
        reverse("admin:billing_ledgertransaction_change", args=[txn.pk])
    ).content.decode()

    assert "deferred_revenue" in page
    assert "usage_revenue" in page
    assert "req_" in page


def test_a_keys_secret_is_nowhere_and_an_operator_can_revoke_it(
    cast: Cast, operator: Client
) -> None:
    key = cast.acme.key
    page = operator.get(reverse("admin:accounts_apikey_change", args=[key.pk])).content.decode()

    operator.post(
        reverse("admin:accounts_apikey_changelist"),
        {"action": "revoke", "_selected_action": [key.pk]},
    )

    assert "hmac" not in page
    assert cast.acme.key_text not in page
    assert operator.get(reverse("admin:accounts_apikey_add")).status_code == 403
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    assert AuditEvent.objects.get(action="key.revoke").actor == "operator@example.com"


def test_a_budget_is_made_and_changed_in_dollars_and_audited(cast: Cast, operator: Client) -> None:
    add = {"org": cast.acme.org.pk, "project": "", "key": cast.acme.key.pk, "period": "month"}
    operator.post(reverse("admin:billing_budget_add"), {**add, "limit_usd": "2.50"})
    budget = Budget.objects.get()
    made = budget.limit_nanos
    operator.post(
        reverse("admin:billing_budget_change", args=[budget.pk]), {"limit_usd": "0.000000001"}
    )
    stranger = {**add, "key": cast.other.key.pk, "limit_usd": "1"}
    operator.post(reverse("admin:billing_budget_add"), stranger)

    budget.refresh_from_db()
    assert (made, budget.limit_nanos, Budget.objects.count()) == (2_500_000_000, 1, 1)
    actions = AuditEvent.objects.filter(actor="operator@example.com").values_list("action")
    assert [action for (action,) in actions.order_by("pk")] == ["budget.create", "budget.change"]


def test_a_price_is_added_in_dollars_and_never_touched_again(operator: Client) -> None:
    prices = {f"{bucket}_nanos": "0" for bucket in BUCKETS} | {"output_nanos": "2.5"}
    operator.post(
        reverse("admin:billing_priceversion_add"),
        {"model": "m-1", "effective_from_0": "2026-01-01", "effective_from_1": "0:00", **prices},
    )

    version = PriceVersion.objects.get(model="m-1")
    change = reverse("admin:billing_priceversion_change", args=[version.pk])
    assert (version.output_nanos, version.input_nanos) == (2_500_000_000, 0)
    assert version.created_by == "operator@example.com"
    assert operator.post(change, {**prices, "output_nanos": "9"}).status_code == 403


def test_a_providers_credential_is_neither_shown_nor_lost(operator: Client) -> None:
    provider = Provider.objects.get(name="simulator")
    provider.credential = b"sealed-credential"
    provider.save()
    url = reverse("admin:gateway_provider_change", args=[provider.pk])

    page = operator.get(url).content.decode()
    operator.post(
        url,
        {
            **dict.fromkeys(TIMES, 60),
            "base_url": "",
            "anthropic_version": "2023-06-01",
            "connect_timeout_s": 4,
        },
    )

    provider.refresh_from_db()
    assert provider.connect_timeout_s == 4
    assert "sealed-credential" not in page
    assert bytes(provider.credential or b"") == b"sealed-credential"


@pytest.mark.parametrize(
    "base_url",
    ["http://api.example.com/v1", "https://169.254.169.254", "https://a:b@example.com", "ftp://x"],
)
def test_a_providers_address_is_never_changed_to_one_that_may_not_be_called(
    operator: Client, settings: LazySettings, base_url: str
) -> None:
    settings.PROVIDER_NETWORKS = []
    home = "https://api.example.com/v1"
    provider = create_provider(
        "acme", kind="openai", base_url=home, credential="sk-provider", actor="test"
    )
    url = reverse("admin:gateway_provider_change", args=[provider.pk])
    fields = {**dict.fromkeys(TIMES, 60), "anthropic_version": "2023-06-01"}

    page = operator.post(url, {**fields, "base_url": base_url})

    assert page.status_code == 200, "the form again"
    assert page.context["adminform"].form.errors.keys() == {"base_url"}
    assert Provider.objects.get(name="acme").base_url == home

    operator.post(url, {**fields, "base_url": "https://eu.example.com/v1/"})

    assert Provider.objects.get(name="acme").base_url == "https://eu.example.com/v1"


def test_holds_of_a_hundred_thousand_do_not_slow_the_list_by_counting() -> None:
    assert admin.site._registry[Hold].show_full_result_count is False


def _request(client: Client) -> HttpRequest:
    return client.get("/admin/").wsgi_request

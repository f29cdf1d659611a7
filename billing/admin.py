"""Operators' view of the money. Seen, never changed: the ledger's own code writes these tables.

Entries, windows and usage have keys of two columns, which Django's admin cannot register; they
stand, read-only, on the page of what they belong to: transaction, budget, hold.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Field
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.models import ApiKey, Project
from billing import models, proof_admin
from billing.budgets import (
    BudgetSpec,
    add_budget,
    change_budget_limit,
    check_budget,
    render_limit,
)
from billing.payments import admin as payments_admin
from billing.usage import BUCKETS
from kernel.errors import InvalidAmountError, TollgateError
from kernel.money import parse_usd, render_usd
from pages.admin import BoundedAdmin, ReadOnlyAdmin, refuse

MOST_ROWS = 200
# Django looks for this file alone; what is beside the payments registers itself
__all__ = ["payments_admin", "proof_admin"]


def render_rows(names: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """Return a small table for a read-only field."""
    lines = [(format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows]
    if not lines:
        return format_html("{}", "none")
    head = format_html_join("", "<th>{}</th>", ((name,) for name in names))
    body = format_html_join("", "<tr>{}</tr>", lines)
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def render_usage(events: Iterable[models.UsageEvent]) -> SafeString:
    return render_rows(
        ("request", "at (UTC)", "model", "used", "outcome", "evidence", "USD"),
        (
            (
                event.request_id,
                f"{event.occurred_at:%Y-%m-%d %H:%M:%S}",
                event.model,
                ", ".join(f"{name} {n}" for name in BUCKETS if (n := getattr(event, name))),
                event.outcome,
                event.evidence,
                render_usd(event.amount_nanos),
            )
            for event in events
        ),
    )


class UsdField(forms.CharField):
    """Dollars as people write them; nanos inside."""

    def clean(self, value: object) -> int:
        text = super().clean(value)
        try:
            return parse_usd(str(text))
        except InvalidAmountError as error:
            raise forms.ValidationError(error.message) from error


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg] # generic in the stubs only
    limit_usd = UsdField(label="Limit (USD)", required=False)

    class Meta:
        model = models.Budget
        fields = ("org", "project", "key", "model", "period", "anchor", "limit_tokens", "is_hard")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type] # the admin's own arguments
        if self.instance.limit_nanos is not None:
            self.fields["limit_usd"].initial = render_usd(self.instance.limit_nanos, places=2)

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        for part in (cleaned.get("project"), cleaned.get("key")):
            if isinstance(part, Project | ApiKey) and part.org_id != cleaned["org"].pk:
                raise forms.ValidationError("Project and key must belong to the organization.")
        try:
            check_budget(
                BudgetSpec(
                    str(cleaned.get("period", self.instance.period)),
                    limit_nanos=cleaned.get("limit_usd"),
                    limit_tokens=cleaned.get("limit_tokens"),
                    anchor=cleaned.get("anchor"),
                )
            )
        except TollgateError as error:
            raise forms.ValidationError(error.message) from error
        return dict(cleaned)


@admin.register(models.Budget)
class BudgetAdmin(BoundedAdmin):
    """Made and changed under the account's lock; what it limits stays what it was."""

    form = BudgetForm
    list_display = ("id", "org", "level", "period", "limit", "active", "effective_from")
    list_select_related = ("org",)
    search_fields = ("=org__public_id", "=key__public_id", "=project__public_id")
    autocomplete_fields = ("org", "project", "key")

    def get_readonly_fields(
        self,
        request: HttpRequest,  # Django's signature
        obj: models.Budget | None = None,
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        fixed = ("org", "project", "key", "model", "period", "anchor", "is_hard")
        return (*fixed, "active", "windows")

    has_delete_permission = refuse

    def save_model(
        self,
        request: HttpRequest,
        obj: models.Budget,
        form: "forms.ModelForm[models.Budget]",
        change: object,
    ) -> None:
        limit_nanos, limit_tokens = (
            form.cleaned_data["limit_usd"],
            form.cleaned_data["limit_tokens"],
        )
        if change:
            stored = models.Budget.objects.get(pk=obj.pk)
            limit = limit_tokens if stored.limit_nanos is None else limit_nanos
            change_budget_limit(stored, limit, actor=str(request.user))
            return
        spec = BudgetSpec(
            obj.period,
            limit_nanos=limit_nanos,
            limit_tokens=limit_tokens,
            project=obj.project,
            key=obj.key,
            model=obj.model,
            anchor=obj.anchor,
            is_hard=obj.is_hard,
        )
        obj.pk = add_budget(obj.org, spec, actor=str(request.user)).pk

    @admin.display(description="limit")
    def limit(self, budget: models.Budget) -> str:
        return render_limit(budget)

    @admin.display(description="windows (settled and held, USD)")
    def windows(self, budget: models.Budget) -> SafeString:
        return render_rows(
            ("from", "to", "settled", "held", "tokens settled", "tokens held"),
            (
                (
                    w.window_start,
                    w.window_end,
                    render_usd(w.settled_nanos),
                    render_usd(w.held_nanos),
                    w.settled_tokens,
                    w.held_tokens,
                )
                for w in budget.windows.order_by("-window_start")[:MOST_ROWS]
            ),
        )


@admin.register(models.PriceVersion)
class PriceVersionAdmin(ReadOnlyAdmin):
    """A new version is added; the database refuses to change or delete one."""

    list_display = ("model", "org", "effective_from", "per_million", "created_by")
    list_select_related = ("org",)
    search_fields = ("=model",)
    autocomplete_fields = ("org",)
    readonly_fields = ("created_by", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse where prices wait for a second person: they are asked for elsewhere."""
        return not settings.PRICE_APPROVAL and request.user.has_perm("billing.add_priceversion")

    def formfield_for_dbfield(
        self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """Ask for dollars: one who meant two dollars must not sell for two nanos."""
        if not db_field.name.endswith("_nanos"):
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        bucket = db_field.name.removesuffix("_nanos").replace("_", " ").capitalize()
        return UsdField(label=f"{bucket}, USD per 1M", initial="0")

    def save_model(
        self,
        request: HttpRequest,
        obj: models.PriceVersion,
        form: "forms.ModelForm[models.PriceVersion]",
        change: object,
    ) -> None:
        obj.created_by = str(request.user)
        super().save_model(request, obj, form, bool(change))

    @admin.display(description="USD per 1M")
    def per_million(self, version: models.PriceVersion) -> str:
        prices = version.as_prices().as_dict().items()
        return ", ".join(f"{bucket} {render_usd(nanos, places=2)}" for bucket, nanos in prices)


@admin.register(models.LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind", "org", "effective_at", "recorded_at", "reason")
    list_select_related = ("org",)
    search_fields = ("=id", "=idem_key", "=org__public_id")
    readonly_fields = ("entries", "usage")

    def entries(self, txn: models.LedgerTransaction) -> SafeString:
        """Debits are positive, credits negative."""
        rows = txn.entries.select_related("account").order_by("seq")
        return render_rows(
            ("account", "USD"),
            ((row.account.code, render_usd(row.amount_nanos)) for row in rows),
        )

    def usage(self, txn: models.LedgerTransaction) -> SafeString:
        events = models.UsageEvent.objects.filter(ledger_txn_id=txn.pk).order_by("-occurred_at")
        return render_usage(events[:MOST_ROWS])


@admin.register(models.Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ("request_id", "org_id", "model", "state", "held", "created_at", "closed_at")
    ordering = ("-request_id",)
    search_fields = ("=request_id", "=idem_key")
    list_filter = ("state",)
    readonly_fields = ("usage",)

    @admin.display(description="USD")
    def held(self, hold: models.Hold) -> str:
        return render_usd(hold.amount_nanos)

    def usage(self, hold: models.Hold) -> SafeString:
        return render_usage(
            models.UsageEvent.objects.filter(
                request_id=hold.request_id, occurred_at=hold.created_at
            )
        )


@admin.register(models.Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "org", "period_start", "state", "total_cents", "issued_at")
    list_select_related = ("org",)
    list_filter = ("state",)
    search_fields = ("=number", "=org__public_id")
    exclude = ("pdf",)


@admin.register(models.BillingAccount)
class BillingAccountAdmin(ReadOnlyAdmin):
    list_display = (
        "org",
        "mode",
        "deferred_nanos",
        "promotional_nanos",
        "unbilled_nanos",
        "held_nanos",
    )
    exclude = ("ledger_head",)
    list_select_related = ("org",)
    search_fields = ("=org__public_id", "org__name")


@admin.register(models.Quarantine)
class QuarantineAdmin(ReadOnlyAdmin):
    list_display = ("request_id", "reason", "recorded_at", "resolved_at")
    search_fields = ("=request_id",)


@admin.register(models.InvoiceLine)
class InvoiceLineAdmin(ReadOnlyAdmin):
    list_display = ("invoice", "seq", "model", "bucket", "quantity", "amount_nanos")
    list_select_related = ("invoice",)
    search_fields = ("=invoice__number", "=model")


@admin.register(
    models.InvoiceSeries,
    models.JournalOwner,
    models.LedgerAccount,
    models.LedgerChain,
    models.UsageId,
)
class PlainAdmin(ReadOnlyAdmin):
    """Rows whose name says what there is to see."""


@admin.register(models.CreditGrant)
class CreditGrantAdmin(ReadOnlyAdmin):
    list_display = ("id", "org", "kind", "source", "granted", "remaining", "expires_at", "reason")
    list_select_related = ("org",)
    list_filter = ("kind", "source")
    search_fields = ("=org__public_id",)

    @admin.display(description="granted, USD")
    def granted(self, grant: models.CreditGrant) -> str:
        return render_usd(grant.granted_nanos)

    @admin.display(description="remaining, USD")
    def remaining(self, grant: models.CreditGrant) -> str:
        return render_usd(grant.remaining_nanos)


@admin.register(models.GrantBurn)
class GrantBurnAdmin(ReadOnlyAdmin):
    list_display = ("id", "grant_id", "request_id", "amount_nanos")
    search_fields = ("=request_id",)


@admin.register(models.UsageReversal)
class UsageReversalAdmin(ReadOnlyAdmin):
    list_display = ("request_id", "by_request_id", "model", "amount_nanos", "reversed_at")
    ordering = ("-reversed_at",)
    search_fields = ("=request_id", "=by_request_id")


@admin.register(models.OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "org", "kind", "created_at", "dispatched_at")
    list_select_related = ("org",)
    list_filter = ("kind",)


@admin.register(models.ProviderCost)
class ProviderCostAdmin(ReadOnlyAdmin):
    list_display = ("provider", "upstream_model", "effective_from", "created_by")
    search_fields = ("provider", "upstream_model")

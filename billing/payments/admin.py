"""Operators' view of credit that comes in: seen, never changed; approvals decided by actions."""

from collections.abc import Callable
from typing import ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from billing.models import (
    Approval,
    AutoTopUp,
    CodeRedemption,
    PaymentEvent,
    RedeemCode,
    SavedCard,
    TopUp,
)
from billing.payments.approvals import approve, reject
from kernel.errors import TollgateError
from kernel.money import render_usd
from pages.admin import ReadOnlyAdmin


class ReasonForm(ActionForm):
    reason = forms.CharField(required=False, max_length=400, label="Reason (to reject)")


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """Another operator than the one who asked decides."""

    list_display = ("public_id", "kind", "summary", "state", "requested_by", "expires_at")
    list_filter = ("state", "kind")
    search_fields = ("=public_id", "=org__public_id", "=requested_by")
    actions = ("approve_chosen", "reject_chosen")
    action_form = ReasonForm

    @admin.action(description="Approve", permissions=["decide"])
    def approve_chosen(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        approver = request.user
        assert isinstance(approver, User), "the administration has signed them in"
        self._decide(request, queryset, lambda row: approve(row, approver=approver))

    @admin.action(description="Reject", permissions=["decide"])
    def reject_chosen(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        approver, reason = request.user, request.POST.get("reason", "")
        assert isinstance(approver, User), "the administration has signed them in"
        self._decide(request, queryset, lambda row: reject(row, approver=approver, reason=reason))

    def _decide(
        self,
        request: HttpRequest,
        queryset: QuerySet[Approval],
        decide: Callable[[str], Approval],
    ) -> None:
        for public_id in queryset.values_list("public_id", flat=True):
            try:
                decided = decide(public_id)
            except TollgateError as error:
                self.message_user(request, error.message, messages.ERROR)
            else:
                self.message_user(request, f"{public_id} is {decided.state}.")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("billing.change_approval")


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "org", "source", "state", "amount", "failure", "created_at")
    list_select_related = ("org",)
    list_filter = ("state", "source")
    search_fields = ("=public_id", "=org__public_id", "=payment_intent")

    @admin.display(description="USD")
    def amount(self, top_up: TopUp) -> str:
        return render_usd(top_up.amount_nanos, places=2)


@admin.register(PaymentEvent)
class PaymentEventAdmin(ReadOnlyAdmin):
    list_display = ("event_id", "kind", "outcome", "why", "top_up", "received_at")
    ordering: ClassVar[tuple[str, ...]] = ("-received_at",)
    list_select_related = ("top_up",)
    list_filter = ("outcome", "kind")
    search_fields = ("=event_id", "=payment_intent")


@admin.register(RedeemCode)
class RedeemCodeAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "last_four", "kind", "redemptions", "most_redemptions", "reason")
    search_fields = ("=public_id", "=last_four")


@admin.register(AutoTopUp, CodeRedemption, SavedCard)
class PlainPaymentAdmin(ReadOnlyAdmin):
    """Rows whose name says what there is to see."""

    list_select_related = ("org",)

"""The pages of a member: home and keys. They stand here because they show what things cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import access_key, access_keys, access_project, access_projects
from accounts.forms import KeyForm
from accounts.keys import MintedKey, mint_key, revoke_key
from accounts.models import ApiKey
from accounts.pages import Visit, check_may_mint, member_page, render_page
from billing.budgets import create_budget
from billing.locks import lock_accounts
from billing.overview import (
    Balance,
    KeyBudget,
    KeySpend,
    Spend,
    read_balance,
    read_calls,
    read_key_budgets,
    read_models,
    read_spend,
)
from kernel import clock
from pages.charts import SIDE, BarChart, Point, draw_bars, share

KEYS_AT_HOME = 5
SOON = timedelta(days=7)
LABEL_EVERY_DAYS = 7
GATE_LEAST = 8  # of 1,000: a reserve is seen however small it is
BUILT_IN_MODEL = "hacxgpt"


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key as a line of a table."""

    key: ApiKey
    spend: KeySpend
    budget: KeyBudget | None
    is_older_than_window: bool

    @property
    def status(self) -> str:
        if self.key.revoked_at is not None:
            return "revoked"
        if self.key.expires_at is None:
            return "active"
        if self.key.expires_at <= clock.now():
            return "expired"
        return "expiring" if self.key.expires_at <= clock.now() + SOON else "active"

    @property
    def budget_share(self) -> int:
        return 0 if self.budget is None else share(self.budget.used_nanos, self.budget.limit_nanos)

    @property
    def has_spent_budget(self) -> bool:
        return self.budget is not None and self.budget.used_nanos >= self.budget.limit_nanos


@dataclass(frozen=True, slots=True)
class Gate:
    """Two lengths of a bar of 1,000 units, side by side."""

    available: int
    reserved: int


@require_safe
@member_page
def home(request: HttpRequest, visit: Visit) -> HttpResponse:
    spend, balance = read_spend(visit.org), read_balance(visit.org)
    calls, lines = read_calls(visit.org), _in_use(_key_lines(visit, spend))
    return render_page(
        request,
        visit,
        "billing/home.html",
        section="home",
        **_balance_context(balance, spend),
        chart=_draw_days(spend),
        calls=calls,
        lines=lines[:KEYS_AT_HOME],
        example_key=_example_key(lines),
        api_url=settings.PUBLIC_API_URL.rstrip("/"),
        model=_example_model(read_models(visit.org)),
    )


@require_safe
@member_page
def live_balance(request: HttpRequest, visit: Visit) -> HttpResponse:
    context = _balance_context(read_balance(visit.org), read_spend(visit.org))
    return render_page(request, visit, "billing/balance.html", **context)


@require_safe
@member_page
def live_calls(request: HttpRequest, visit: Visit) -> HttpResponse:
    calls = read_calls(visit.org)
    if calls and "first" in request.GET:  # the page of first steps has done its part
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render_page(request, visit, "billing/calls.html", calls=calls)


@require_safe
@member_page
def live_spend(request: HttpRequest, visit: Visit) -> HttpResponse:
    spend = read_spend(visit.org)
    return render_page(request, visit, "billing/spend.html", spend=spend, chart=_draw_days(spend))


@require_safe
@member_page
def live_keys(request: HttpRequest, visit: Visit) -> HttpResponse:
    spend = read_spend(visit.org)
    return render_page(
        request,
        visit,
        "billing/home_keys.html",
        spend=spend,
        lines=_in_use(_key_lines(visit, spend))[:KEYS_AT_HOME],
    )


@require_safe
@member_page
def keys(request: HttpRequest, visit: Visit) -> HttpResponse:
    lines = _key_lines(visit, read_spend(visit.org))
    return render_page(
        request,
        visit,
        "billing/keys.html",
        section="keys",
        lines=_in_use(lines),
        revoked=[line for line in lines if line.status == "revoked"],
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def new_key(request: HttpRequest, visit: Visit) -> HttpResponse:
    check_may_mint(visit)
    models = read_models(visit.org)
    form = KeyForm(
        request.POST if request.method == "POST" else None,
        projects=list(access_projects(visit.member)),
        models=models,
    )
    is_part = bool(request.headers.get("HX-Request"))
    if not form.is_valid():
        template = "billing/key_form.html" if is_part else "billing/key_new.html"
        return render_page(request, visit, template, section="keys", form=form)
    minted = _mint(visit, form)
    return render_page(
        request,
        visit,
        "billing/key_made_part.html" if is_part else "billing/key_made.html",
        section="keys",
        key=minted.key,
        text=minted.text,
        api_url=settings.PUBLIC_API_URL.rstrip("/"),
        model=_example_model(minted.key.allowed_models or models),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def revoke(request: HttpRequest, visit: Visit, public_id: str) -> HttpResponse:
    key = access_key(visit.member, public_id)
    check_may_mint(visit)
    if request.method == "POST":
        revoke_key(key, actor=visit.user.email)
        return redirect(reverse("keys") + visit.query)
    line = next(line for line in _key_lines(visit, read_spend(visit.org)) if line.key == key)
    return render_page(request, visit, "billing/key_revoke.html", section="keys", line=line)


def _mint(visit: Visit, form: KeyForm) -> MintedKey:
    """Make the key and its budget together: a key that should have a limit never lives without."""
    asked = form.as_request()
    project = access_project(visit.member, asked.project_id)
    with transaction.atomic():
        lock_accounts([visit.org.pk])
        minted = mint_key(project, asked.spec, actor=visit.user.email, user=visit.user)
        if asked.budget_nanos is not None:
            create_budget(
                org=visit.org,
                project=project,
                key=minted.key,
                limit_nanos=asked.budget_nanos,
                period=asked.budget_period,
                actor=visit.user.email,
            )
    return minted


def _key_lines(visit: Visit, spend: Spend) -> list[KeyLine]:
    budgets = read_key_budgets(visit.org)
    return [
        KeyLine(
            key,
            spend.by_key.get(key.pk, KeySpend()),
            budgets.get(key.pk),
            key.created_at < spend.since,
        )
        for key in access_keys(visit.member)
    ]


def _in_use(lines: list[KeyLine]) -> list[KeyLine]:
    """Leave out revoked keys; those that still work come first."""
    kept = [line for line in lines if line.status != "revoked"]
    return sorted(kept, key=lambda line: line.status == "expired")


def _example_key(lines: list[KeyLine]) -> str:
    return next((line.key.masked for line in lines if line.status != "expired"), "")


def _example_model(models: Sequence[str]) -> str:
    """Return the model that examples call: the built-in one where it may be called."""
    if BUILT_IN_MODEL in models:
        return BUILT_IN_MODEL
    return models[0] if models else BUILT_IN_MODEL


def _balance_context(balance: Balance, spend: Spend) -> dict[str, Any]:
    return {"balance": balance, "spend": spend, "gate": _draw_gate(balance, spend)}


def _draw_gate(balance: Balance, spend: Spend) -> Gate:
    """Show the money of this month: what is left of it, what is set aside, what is gone."""
    left = max(balance.available_nanos, 0)
    whole = left + balance.reserved_nanos + spend.month_nanos
    reserved = share(balance.reserved_nanos, whole, least=GATE_LEAST)
    return Gate(min(share(left, whole), SIDE - reserved), reserved)


def _draw_days(spend: Spend) -> BarChart:
    return draw_bars(
        [
            Point(f"{day.day.day} {day.day:%b}", day.amount_nanos, str(day.calls))
            for day in spend.days
        ],
        label_every=LABEL_EVERY_DAYS,
    )

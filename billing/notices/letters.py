"""What is written to people, one letter a kind: plain text, times in the organization's zone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings

from accounts.models import Organization
from billing.models import Budget, OutboxEvent
from billing.notices.bodies import render_amounts
from billing.notices.kinds import BROKEN, CAPPED, DIFFERS, DISABLED
from kernel.money import render_usd_short


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    text: str


def render_letter(event: OutboxEvent) -> Letter:
    """Return the letter of an event; only kinds in ``LETTERS`` have one."""
    letter = LETTERS[event.kind](event)
    # a name with a line break in it must not become a header
    subject = " ".join(f"[Tollgate] {letter.subject}".split())
    return Letter(subject, f"{letter.text}\n\n-- \nTollgate, {settings.PUBLIC_WEB_URL}\n")


def _budget_reached(event: OutboxEvent) -> Letter:
    told = event.payload
    budget = Budget.objects.select_related("org", "project", "key").get(pk=told["budget"])
    org = budget.org
    end = told["window_end"]
    renews = "never" if end is None else render_time(datetime.fromisoformat(end), org)
    what = "refuses what would exceed it" if budget.is_hard else "only tells; nothing is refused"
    return Letter(
        f"{org.name}: {told['percent']} % of a budget is used",
        f"{told['percent']} % of a budget of {org.name} is used.\n\n"
        f"Budget:  {budget.period} budget of {_scope(budget)}\n"
        f"Used:    {_amount(told, 'used')}\n"
        f"Limit:   {_amount(told, 'limit')}\n"
        f"Renews:  {renews}\n\n"
        f"This budget {what}.",
    )


def _balance_low(event: OutboxEvent) -> Letter:
    name = _name(event)
    balance = render_usd_short(int(event.payload["balance_nanos"]))
    threshold = render_usd_short(int(event.payload["threshold_nanos"]))
    return Letter(
        f"{name}: the balance is low",
        f"The balance of {name} is {balance} USD, below the {threshold} USD you set.\n\n"
        "Calls are refused when it is used up. Top up, or ask your operator for credit.",
    )


def _top_up_failed(event: OutboxEvent) -> Letter:
    name, told = _name(event), event.payload
    return Letter(
        f"{name}: automatic top-ups have stopped",
        f"A top-up of {render_usd_short(int(told['amount_nanos']))} USD for {name} failed "
        f"{told['failures']} times and is not tried again.\n\n"
        f"Reason:  {told['why']}\n"
        f"Top-up:  {told['topup']}\n\n"
        "Check the card, then switch automatic top-ups on again.",
    )


def _top_up_capped(event: OutboxEvent) -> Letter:
    name, told = _name(event), event.payload
    cap = render_usd_short(int(told["monthly_cap_nanos"]))
    balance = render_usd_short(int(told["balance_nanos"]))
    return Letter(
        f"{name}: automatic top-ups have reached their monthly cap",
        f"The balance of {name} is {balance} USD, and automatic top-ups have reached the {cap} USD "
        "you allow a month.\n\nTop up by hand, or raise the cap.",
    )


def _top_up_loss(event: OutboxEvent) -> Letter:
    name, told = _name(event), event.payload
    amount = render_usd_short(int(told["amount_nanos"]))
    return Letter(
        f"{amount} USD lost on a top-up of {name}",
        f"{amount} USD of top-up {told['topup']} went back to the payer after {name} had used it.",
    )


def _top_up_quarantined(event: OutboxEvent) -> Letter:
    told = event.payload
    return Letter(
        f"A payment for {_name(event)} granted nothing",
        f"A payment for {_name(event)} is not what was asked; no credit was given.\n\n"
        f"Reason:  {told['why']}\n"
        f"Source:  {told['event']}\n"
        f"Top-up:  {told['topup'] or 'unknown'}\n\n"
        "Look into it at the payment provider (./tollgate manage topup quarantine lists all), then "
        "give credit or the money back.",
    )


def _settlement_quarantined(event: OutboxEvent) -> Letter:
    told = event.payload
    return Letter(
        f"A charge of {_name(event)} is in quarantine",
        f"Call {told['request']} of {_name(event)} could not be settled.\n\n"
        f"Reason:  {told['reason']}\n"
        f"Held:    {render_usd_short(int(told['held_nanos']))} USD\n\n"
        "Mend the cause and ./tollgate manage quarantine retry it before the hold's time is over, "
        "or write it off with quarantine dismiss.",
    )


def _webhook_disabled(event: OutboxEvent) -> Letter:
    webhook, why = event.payload["webhook"], event.payload["why"]
    return Letter(
        f"{_name(event)}: webhook {webhook} is disabled",
        f"{why} Nothing is posted to it any more.\n\n"
        "Mend it and enable it; what was given up meanwhile can be sent again.",
    )


def _books_differ(event: OutboxEvent) -> Letter:
    told = event.payload
    lines = "\n".join(f"- {line}" for line in told["first"])
    return Letter(
        f"Reconciliation found {told['differences']} differences",
        f"Reconciliation run {told['run']} over {told['hours']} hours differs in "
        f"{told['differences']} places. Nothing was changed.\n\n{lines}\n\n"
        "./tollgate manage reconcile history --json names all of them; ./tollgate prove checks "
        "all books.",
    )


def _proof_broken(event: OutboxEvent) -> Letter:
    told = event.payload
    lines = "\n".join(f"- {line}" for line in told["first"])
    return Letter(
        f"The proof found {told['differences']} differences",
        f"Run {told['run']} of the proof names {told['differences']} rows. Nothing was changed.\n\n"
        f"{lines}\n\n./tollgate manage prove history --json names all of them.",
    )


LETTERS: Mapping[str, Callable[[OutboxEvent], Letter]] = {
    "budget.threshold_reached": _budget_reached,
    "balance.low": _balance_low,
    "topup.failed": _top_up_failed,
    CAPPED: _top_up_capped,
    "topup.loss": _top_up_loss,
    "settlement.quarantined": _settlement_quarantined,
    "topup.quarantined": _top_up_quarantined,
    DISABLED: _webhook_disabled,
    DIFFERS: _books_differ,
    BROKEN: _proof_broken,
}


def render_time(at: datetime, org: Organization) -> str:
    return f"{at.astimezone(ZoneInfo(org.timezone)):%Y-%m-%d %H:%M} ({org.timezone})"


def _scope(budget: Budget) -> str:
    if budget.key is not None:
        scope = f"key {budget.key.masked}"
    elif budget.project is not None:
        scope = f"project {budget.project.name}"
    else:
        scope = f"organization {budget.org.name}"
    return f"{scope}, model {budget.model}" if budget.model else scope


def _amount(told: Mapping[str, str], name: str) -> str:
    if told["unit"] == "tokens":
        return f"{told[name]} tokens"
    return f"{render_amounts(told)[name + '_usd']} USD"


def _name(event: OutboxEvent) -> str:
    return "the platform" if event.org is None else event.org.name

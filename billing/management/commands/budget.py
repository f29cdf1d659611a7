"""``manage budget create|list|limit|end``: what may be used in a period, on which level."""

from typing import Any

from accounts.access import operator_key, operator_org, operator_project
from accounts.commands import ACTOR, VerbCommand
from billing.budgets import (
    BudgetSpec,
    add_budget,
    change_budget_limit,
    end_budget,
    render_limit,
)
from billing.models import Budget
from kernel.cli import parse_count, print_row, print_rows
from kernel.errors import BadRequestError, NotFoundError
from kernel.money import parse_usd


class Command(VerbCommand):
    help = "Make, list, change and end budgets in money or tokens."

    def add_verbs(self, verbs: Any) -> None:
        create = self.add_verb(verbs, "create", "Make a budget; it counts from now on.")
        create.add_argument("--org", required=True, metavar="ID")
        create.add_argument("--project", metavar="P", help="id or name; else the organization")
        create.add_argument("--key", metavar="K", help="its 12-character id, or the key itself")
        create.add_argument("--model", default="", metavar="M", help="this model only")
        _add_limits(create)
        create.add_argument(
            "--period", required=True, choices=[str(p) for p in Budget.Period.values]
        )
        create.add_argument(
            "--anchor", metavar="N", help="hour of the day, ISO weekday, or day of the month"
        )
        create.add_argument("--soft", action="store_true", help="tell, refuse nothing")
        create.add_argument(
            "--alerts", default="50,80,100", metavar="A,B", help="per cents to tell at"
        )
        listing = self.add_verb(verbs, "list", "List an organization's budgets.")
        listing.add_argument("--org", required=True, metavar="ID")
        limit = self.add_verb(verbs, "limit", "Change a budget's limit.")
        limit.add_argument("id")
        _add_limits(limit)
        end = self.add_verb(verbs, "end", "End a budget.")
        end.add_argument("id")

    def do_create(self, options: dict[str, Any]) -> None:
        org = operator_org(options["org"])
        key = None if options["key"] is None else operator_key(options["key"])
        if key is not None and key.org_id != org.pk:
            raise NotFoundError("The organization has no such key.", code="not_found")
        project = None
        if key is None and options["project"] is not None:
            project = operator_project(org, options["project"])
        nanos, tokens = _limits(options)
        spec = BudgetSpec(
            options["period"],
            limit_nanos=nanos,
            limit_tokens=tokens,
            project=project,
            key=key,
            model=options["model"],
            anchor=None if options["anchor"] is None else _whole(options["anchor"]),
            is_hard=not options["soft"],
            alert_percents=[_whole(text) for text in options["alerts"].split(",")],
        )
        print_row(_row(add_budget(org, spec, actor=ACTOR)), as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        budgets = Budget.objects.filter(org=operator_org(options["org"])).order_by("id")
        print_rows([_row(budget) for budget in budgets], as_json=options["json"])

    def do_limit(self, options: dict[str, Any]) -> None:
        budget = _budget(options["id"])
        nanos, tokens = _limits(options)
        limit = tokens if budget.unit == "tokens" else nanos
        if limit is None:
            raise BadRequestError(f"This budget is in {budget.unit}: give its limit so.")
        print_row(_row(change_budget_limit(budget, limit, actor=ACTOR)), as_json=options["json"])

    def do_end(self, options: dict[str, Any]) -> None:
        budget = end_budget(_budget(options["id"]), actor=ACTOR)
        print_row(_row(budget), as_json=options["json"])


def _add_limits(parser: Any) -> None:
    parser.add_argument("--usd", metavar="USD", help="limit in money")
    parser.add_argument("--tokens", metavar="N", help="limit in tokens")


def _limits(options: dict[str, Any]) -> tuple[int | None, int | None]:
    usd, tokens = options["usd"], options["tokens"]
    return (
        None if usd is None else parse_usd(usd, minimum=0),
        None if tokens is None else parse_count(tokens),
    )


def _whole(text: str) -> int:
    return 0 if text == "0" else parse_count(text)


def _budget(text: str) -> Budget:
    budget = Budget.objects.filter(pk=text).first() if text.isascii() and text.isdigit() else None
    if budget is None:
        raise NotFoundError(f"There is no budget {text!r}.", code="not_found")
    return budget


def _row(budget: Budget) -> dict[str, Any]:
    return {
        "id": budget.pk,
        "org": budget.org.public_id,
        "level": budget.level,
        "project": None if budget.project is None else budget.project.public_id,
        "key": None if budget.key is None else budget.key.public_id,
        "model": budget.model or None,
        "limit": render_limit(budget),
        "period": budget.period,
        "anchor": budget.anchor,
        "hard": budget.is_hard,
        "alerts": budget.alert_percents,
        "active": budget.active,
    }

"""``manage model list|create|set|alias|route|price|limits``: what can be called, who serves it."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from accounts.commands import ACTOR, VerbCommand, add_limit_flags, limits_of, read_limits
from billing.management.commands.approval import render_approval
from billing.models import Approval
from billing.prices import PriceSpec, current_price, text_price
from billing.usage import Usage
from gateway.deployments import Place, change_model, remove_deployment, set_deployment
from gateway.media_bounds import PICTURE_TOKENS
from gateway.models import Deployment, PublicModel
from gateway.offers import alias_model, create_model, limit_model, price_model, remove_alias
from kernel.cli import parse_whole, print_row, print_rows
from kernel.errors import BadRequestError
from kernel.money import parse_usd, render_usd

MOST_PRIORITY = 32_767
# what `set` changes, and the most of each
MOST_TOKENS = {
    "context_tokens": 100_000_000,
    "max_output_tokens": 10_000_000,
    "picture_tokens": 1_000_000,
}


class Command(VerbCommand):
    help = "List, create, set, name, route, price and limit models. Prices are USD per 1M tokens."

    def add_verbs(self, verbs: Any) -> None:
        self.add_verb(verbs, "list", "List models with their prices.")
        create = self.add_verb(verbs, "create", "Offer a model.")
        create.add_argument("name")
        create.add_argument("--provider", required=True, metavar="N")
        create.add_argument("--upstream-model", required=True, metavar="M")
        create.add_argument("--price-input", metavar="USD")
        create.add_argument("--price-output", metavar="USD")
        _add_set_flags(self.add_verb(verbs, "set", "Show a model, or change how it is held for."))
        alias = self.add_verb(verbs, "alias", "Let a model be called by another name as well.")
        alias.add_argument("name")
        end = alias.add_mutually_exclusive_group(required=True)
        end.add_argument("--for", dest="model", metavar="MODEL")
        end.add_argument("--remove", action="store_true", help="the name stands for nothing again")
        _add_route_flags(
            self.add_verb(verbs, "route", "Say who serves a model, and in which order.")
        )
        price = self.add_verb(verbs, "price", "Give a model a new price from now on.")
        price.add_argument("name")
        price.add_argument("--price-input", metavar="USD", required=True)
        price.add_argument("--price-output", metavar="USD", required=True)
        limits = self.add_verb(
            verbs, "limits", "Show or change what each organization may ask of a model."
        )
        limits.add_argument("name")
        add_limit_flags(limits)

    def do_list(self, options: dict[str, Any]) -> None:
        rows = [_row(model) for model in PublicModel.objects.order_by("name")]
        print_rows(rows, as_json=options["json"])

    def do_create(self, options: dict[str, Any]) -> None:
        if (options["price_input"] is None) != (options["price_output"] is None):
            raise BadRequestError("Give --price-input and --price-output together.")
        model = create_model(
            options["name"],
            provider=options["provider"],
            upstream_model=options["upstream_model"],
            price=None if options["price_input"] is None else _price(options),
            actor=ACTOR,
        )
        print_row(_row(model), as_json=options["json"])

    def do_set(self, options: dict[str, Any]) -> None:
        changes: dict[str, int | str | None] = {
            name: parse_whole(options[name], 1, most)
            for name, most in MOST_TOKENS.items()
            if options[name] is not None
        }
        if options["thinks_unseen"] is not None:
            changes["thinks_unseen"] = options["thinks_unseen"]
        model = change_model(options["name"], changes, actor=ACTOR)
        row = {**_row(model), **{name: getattr(model, name) for name in MOST_TOKENS}}
        row["thinks_unseen"] = model.thinks_unseen
        print_row(row, as_json=options["json"])

    def do_alias(self, options: dict[str, Any]) -> None:
        name, model = options["name"], options["model"]
        if model is None:
            remove_alias(name, actor=ACTOR)
        else:
            alias_model(name, model, actor=ACTOR)
        print_row({"alias": name, "model": model}, as_json=options["json"])

    def do_route(self, options: dict[str, Any]) -> None:
        place = Place(options["name"], options["provider"], options["upstream_model"])
        if options["remove"]:
            remove_deployment(place, actor=ACTOR)
            print_row({**asdict(place), "served": False}, as_json=options["json"])
        else:
            deployment = set_deployment(place, _route_changes(options), actor=ACTOR)
            print_row({**asdict(place), **_terms(deployment)}, as_json=options["json"])

    def do_price(self, options: dict[str, Any]) -> None:
        offered = price_model(PriceSpec(options["name"], _price(options)), actor=ACTOR)
        if isinstance(offered, Approval):
            print_row(render_approval(offered), as_json=options["json"])
            return
        model = PublicModel.objects.get(name=options["name"])
        print_row(_row(model), as_json=options["json"])

    def do_limits(self, options: dict[str, Any]) -> None:
        model = limit_model(options["name"], read_limits(options), actor=ACTOR)
        print_row({"name": model.name, **limits_of(model)}, as_json=options["json"])


def _add_set_flags(change: CommandParser) -> None:
    change.add_argument("name")
    thinking = change.add_mutually_exclusive_group()
    thinking.add_argument(
        "--thinks-unseen",
        action="store_const",
        const=True,
        help="it thinks by itself and does not show it: streams are held for in full",
    )
    thinking.add_argument(
        "--thinks-openly",
        dest="thinks_unseen",
        action="store_const",
        const=False,
        help="what it writes can be seen coming: streams are held for step by step",
    )
    change.add_argument(
        "--context-tokens", metavar="N", help="the longest prompt and answer together"
    )
    change.add_argument(
        "--max-output-tokens",
        metavar="N",
        help="the longest answer, and its length where none is asked for",
    )
    change.add_argument(
        "--picture-tokens",
        metavar="N",
        help=f"the most its providers count for a picture; {PICTURE_TOKENS} at first",
    )


def _add_route_flags(route: CommandParser) -> None:
    route.add_argument("name")
    route.add_argument("--provider", required=True, metavar="P")
    route.add_argument("--upstream-model", required=True, metavar="U")
    route.add_argument("--priority", metavar="N", help="the lowest is asked first; 0 at first")
    route.add_argument("--weight", metavar="N", help="share within a priority; 1 at first")
    route.add_argument(
        "--limit-field",
        choices=("auto", *Deployment.LimitField.values),
        help="how the limit of an answer is called there; models that think at an OpenAI-like "
        "server often know max_completion_tokens only; auto at first: as the caller calls it",
    )
    end = route.add_mutually_exclusive_group()
    end.add_argument("--active", action="store_const", const=True, help="take calls again")
    end.add_argument(
        "--inactive", dest="active", action="store_const", const=False, help="take no new calls"
    )
    end.add_argument("--remove", action="store_true", help="serve the model there no longer")


def _route_changes(options: dict[str, Any]) -> dict[str, int | str]:
    changes: dict[str, int | str] = {
        name: parse_whole(options[name], least, MOST_PRIORITY)
        for name, least in (("priority", 0), ("weight", 1))
        if options[name] is not None
    }
    if options["limit_field"] is not None:
        changes["limit_field"] = options["limit_field"].replace("auto", "")
    if options["active"] is not None:
        changes["active"] = options["active"]
    return changes


def _terms(deployment: Deployment) -> dict[str, Any]:
    return {
        "priority": deployment.priority,
        "weight": deployment.weight,
        "limit_field": deployment.limit_field or "auto",
        "active": deployment.active,
    }


def _price(options: dict[str, Any]) -> Usage:
    return text_price(
        parse_usd(options["price_input"], minimum=0), parse_usd(options["price_output"], minimum=0)
    )


def _row(model: PublicModel) -> dict[str, Any]:
    price = current_price(model.name)
    deployments = model.deployments.select_related("provider").order_by("priority", "id")
    return {
        "name": model.name,
        "aliases": [alias.name for alias in model.aliases.order_by("name")],
        "providers": [deployment.provider.name for deployment in deployments],
        "upstream_models": [deployment.upstream_model for deployment in deployments],
        "price_input_usd": None if price is None else render_usd(price.input_nanos, places=2),
        "price_output_usd": None if price is None else render_usd(price.output_nanos, places=2),
        "callable": price is not None and model.active,
    }

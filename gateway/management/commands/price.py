"""``manage price list|set|preview|cost``: the price book. Prices are USD per 1M units."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR, VerbCommand
from billing.management.commands.approval import render_approval
from billing.models import Approval, ProviderCost
from billing.price_preview import preview_price
from billing.prices import PriceSpec, list_versions, render_version, set_provider_cost
from billing.pricing import Tier
from billing.usage import BUCKETS, Usage
from gateway.news import announce_catalog_change
from gateway.offers import price_model
from kernel.cli import parse_count, print_row, print_rows
from kernel.errors import BadRequestError
from kernel.money import parse_usd, render_usd

_TIER = re.compile(r"([a-z_]+)>(\d{1,12})=([\d.]+)", re.ASCII)


class Command(VerbCommand):
    help = "List price versions, publish one, see what one would change, set a provider's cost."

    def add_verbs(self, verbs: Any) -> None:
        listing = self.add_verb(verbs, "list", "List a model's price versions, newest first.")
        listing.add_argument("model")
        for verb, summary in (
            ("set", "Publish a price: a new version, in force from its time on."),
            ("preview", "Charge the last days again at a price; publish nothing."),
        ):
            parser = self.add_verb(verbs, verb, summary)
            parser.add_argument("model")
            _add_buckets(parser)
            parser.add_argument(
                "--tier",
                action="append",
                default=[],
                metavar="BUCKET>N=USD",
                help="within a request, units above N cost so much: input>200000=4.00",
            )
            parser.add_argument("--org", metavar="ID", help="this organization's own price")
            parser.add_argument("--free", action="store_true", help="the model costs nothing")
            parser.add_argument("--from", dest="effective_from", metavar="2027-01-01T00:00Z")
            if verb == "preview":
                parser.add_argument("--days", default="30", metavar="N")
        cost = self.add_verb(verbs, "cost", "Say what a provider charges us, from now on.")
        cost.add_argument("provider")
        cost.add_argument("upstream_model")
        _add_buckets(cost)

    def do_list(self, options: dict[str, Any]) -> None:
        rows = [render_version(version) for version in list_versions(options["model"])]
        print_rows(rows, as_json=options["json"])

    def do_set(self, options: dict[str, Any]) -> None:
        offered = price_model(_spec(options), actor=ACTOR)
        row = render_approval(offered) if isinstance(offered, Approval) else render_version(offered)
        print_row(row, as_json=options["json"])

    def do_preview(self, options: dict[str, Any]) -> None:
        effects = preview_price(_spec(options), days=parse_count(options["days"]))
        rows = [
            {
                "org": effect.org.public_id,
                "name": effect.org.name,
                "requests": effect.requests,
                "charged_usd": render_usd(effect.charged_nanos),
                "would_be_usd": render_usd(effect.would_be_nanos),
                "difference_usd": render_usd(effect.difference_nanos),
            }
            for effect in effects
        ]
        print_rows(rows, as_json=options["json"])

    def do_cost(self, options: dict[str, Any]) -> None:
        cost = set_provider_cost(
            options["provider"], options["upstream_model"], _buckets(options), actor=ACTOR
        )
        announce_catalog_change()
        print_row(_cost_row(cost), as_json=options["json"])


def _add_buckets(parser: Any) -> None:
    for bucket in BUCKETS:
        parser.add_argument(f"--{bucket.replace('_', '-')}", metavar="USD")


def _buckets(options: Mapping[str, Any]) -> Usage:
    """Return the prices that were given; cached and written input and reasoning follow them."""
    given = {
        bucket: parse_usd(options[bucket], minimum=0)
        for bucket in BUCKETS
        if options[bucket] is not None
    }
    follows = (("cached_input", "input"), ("cache_write", "input"), ("reasoning", "output"))
    for bucket, like in follows:
        if bucket not in given and like in given:
            given[bucket] = given[like]
    return Usage(**given)


def _spec(options: Mapping[str, Any]) -> PriceSpec:
    tiers: dict[str, list[Tier]] = {}
    for text in options["tier"]:
        match = _TIER.fullmatch(text)
        if match is None:
            raise BadRequestError(f"{text!r} is not a tier: write input>200000=4.00.")
        bucket, above, usd = match.groups()
        tiers.setdefault(bucket, []).append(Tier(int(above), parse_usd(usd, minimum=0)))
    return PriceSpec(
        options["model"],
        _buckets(options),
        {bucket: tuple(sorted(steps)) for bucket, steps in tiers.items()},
        org=None if options["org"] is None else operator_org(options["org"]),
        effective_from=_moment(options["effective_from"]),
        is_free=options["free"],
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadRequestError(f"{text!r} is not a time: write 2027-01-01T00:00Z.")
    return at


def _cost_row(cost: ProviderCost) -> dict[str, Any]:
    return {
        "id": cost.pk,
        "provider": cost.provider,
        "upstream_model": cost.upstream_model,
        "effective_from": cost.effective_from,
    }

"""The price book for operators' programs: versions, publishing, and what a price would change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import operator_org
from accounts.api_views import OperatorView, read_object
from billing.management.commands.approval import render_approval
from billing.models import Approval
from billing.price_preview import preview_price
from billing.prices import PriceSpec, list_versions, render_version
from billing.pricing import Tier
from billing.usage import BUCKETS, Usage
from gateway.offers import price_model
from kernel.errors import BadRequestError
from kernel.money import parse_usd, render_usd

FIELDS = ("model", "usd_per_million", "tiers", "organization", "effective_from", "free")
DEFAULT_DAYS = 30


class PricesView(OperatorView):
    """``GET ?model=`` lists versions, newest first; ``POST`` publishes one."""

    http_method_names: Any = ("get", "head", "post")

    def get(self, request: Request) -> Response:
        versions = list_versions(request.query_params.get("model", ""))
        return Response({"object": "list", "data": [render_version(v) for v in versions]})

    def post(self, request: Request) -> Response:
        spec = parse_spec(read_object(request, known=FIELDS))
        offered = price_model(spec, actor=str(request.user))
        if isinstance(offered, Approval):
            return Response(render_approval(offered), status=202)
        return Response(render_version(offered), status=201)


class PricePreviewView(OperatorView):
    """``POST`` a price to see what the usage of the last ``days`` would have cost at it."""

    http_method_names: Any = ("post",)

    def post(self, request: Request) -> Response:
        body = read_object(request, known=(*FIELDS, "days"))
        days = body.get("days", DEFAULT_DAYS)
        if type(days) is not int:
            raise BadRequestError("days is a whole number.", param="days")
        effects = preview_price(parse_spec(body), days=days)
        rows = [
            {
                "organization": effect.org.public_id,
                "requests": effect.requests,
                "charged": render_usd(effect.charged_nanos),
                "would_be": render_usd(effect.would_be_nanos),
                "difference": render_usd(effect.difference_nanos),
            }
            for effect in effects
        ]
        return Response({"object": "price.preview", "currency": "usd", "data": rows})


def parse_spec(body: Mapping[str, Any]) -> PriceSpec:
    """Read a price: decimal strings of USD per 1M units by bucket, tiers as [above, price].

    Raises:
        BadRequestError: with the field's name; NotFoundError: for an unknown organization.

    """
    model, org, is_free = body.get("model"), body.get("organization"), body.get("free", False)
    if not isinstance(model, str) or not model:
        raise BadRequestError("Name the model.", param="model")
    if type(is_free) is not bool:
        raise BadRequestError("free is true or false.", param="free")
    if org is not None and not isinstance(org, str):
        raise BadRequestError("organization is an id.", param="organization")
    return PriceSpec(
        model,
        Usage(**_buckets(body.get("usd_per_million", {}))),
        _tiers(body.get("tiers") or {}),
        org=None if org is None else operator_org(org),
        effective_from=_moment(body.get("effective_from")),
        is_free=is_free,
    )


def _buckets(sent: object) -> dict[str, int]:
    if not isinstance(sent, dict) or not set(sent) <= set(BUCKETS):
        raise BadRequestError("Give a price by usage bucket.", param="usd_per_million")
    return {bucket: parse_usd(usd, minimum=0) for bucket, usd in sent.items()}


def _tiers(sent: object) -> dict[str, tuple[Tier, ...]]:
    wrong = BadRequestError('Write tiers as {"input": [[200000, "4.00"]]}.', param="tiers")
    if not isinstance(sent, dict):
        raise wrong
    tiers: dict[str, tuple[Tier, ...]] = {}
    for bucket, steps in sent.items():
        if not isinstance(steps, list) or not all(
            isinstance(step, list) and len(step) == 2  # noqa: PLR2004 # a bound and a price
            for step in steps
        ):
            raise wrong
        tiers[bucket] = tuple(Tier(above, parse_usd(usd, minimum=0)) for above, usd in steps)
    return tiers


def _moment(sent: object) -> datetime | None:
    if sent is None:
        return None
    try:
        at = datetime.fromisoformat(sent) if isinstance(sent, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadRequestError(
            "effective_from is a time with its zone, such as 2027-01-01T00:00:00Z.",
            param="effective_from",
        )
    return at

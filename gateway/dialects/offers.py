"""What a model costs its caller and how much of it may be asked, as both lists say it. Pure.

Amounts are decimal strings with every digit, never floats.
"""

from dataclasses import asdict
from typing import Any

from billing.pricing import Price
from gateway.dialects.base import ListedModel
from gateway.dialects.schemas import STRING, Schema, array_of, nullable, object_of
from kernel.money import render_usd, render_usd_per_unit

# The words of OpenRouter's list, which programs that compare models read: dollars a token.
_WIDELY_USED = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cached_input",
    "input_cache_write": "cache_write",
    "internal_reasoning": "reasoning",
    "audio": "audio_input",
    "image": "image",
    "request": "request",
}
_ALWAYS = ("input", "output")
_COUNT: Schema = {"type": "integer", "minimum": 1}
OFFER_SCHEMA = object_of(
    {
        "usd_per_million": {"type": "object", "additionalProperties": STRING},
        "tiers": {
            "type": "object",
            "additionalProperties": array_of(
                object_of({"above": _COUNT, "usd_per_million": STRING}, {})
            ),
        },
        "limits": object_of(
            {name: nullable(_COUNT) for name in ("rpm", "rpd", "tpm", "concurrency")}, {}
        ),
    },
    {},
)
PRICING_SCHEMA = object_of(dict.fromkeys(_WIDELY_USED, STRING), {})


def render_offer(model: ListedModel) -> dict[str, Any]:
    """Return prices by bucket in dollars per 1,000,000 units, their tiers, and the rate limits.

    Buckets that cost nothing are left out, but for input and output of a model that writes.
    """
    price = _price(model)
    priced = price.per_million.as_dict()
    shown = priced if "embedding" in priced else {**dict.fromkeys(_ALWAYS, 0), **priced}
    return {
        "usd_per_million": {name: render_usd(nanos, places=2) for name, nanos in shown.items()},
        "tiers": {
            bucket: [
                {"above": tier.above, "usd_per_million": render_usd(tier.nanos, places=2)}
                for tier in tiers
            ]
            for bucket, tiers in price.tiers.items()
        },
        "limits": asdict(model.limits),
    }


def render_pricing(model: ListedModel) -> dict[str, str]:
    """Return dollars for one token, picture or request, before any tier."""
    per_million = _price(model).per_million
    return {
        name: render_usd_per_unit(getattr(per_million, bucket))
        for name, bucket in _WIDELY_USED.items()
    }


def _price(model: ListedModel) -> Price:
    assert model.price is not None, "only what has a price is listed"
    return model.price

"""Answers of the customers' API as JSON values. Pure: nothing here reads or decides.

Money is a decimal string, but for ``amount.value``, which OpenAI's clients want as a number: it is
printed from the decimal, digit by digit.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from accounts.principal import RateLimits
from billing.overview import Balance
from billing.reports import Bucket, UsagePage
from billing.rollups import UsageSum
from billing.standing import BudgetStanding, Credits, Generation, KeyStanding, tightest_limits
from billing.usage import BUCKETS, Usage
from kernel.money import render_usd

Json = dict[str, Any]
Renderer = Callable[[UsageSum], Json]


def render_usage(page: UsagePage) -> Json:
    return _render_page(page, _completions)


def render_costs(page: UsagePage) -> Json:
    return _render_page(page, _costs)


def render_key(standing: KeyStanding, defaults: Mapping[str, int]) -> Json:
    """``defaults`` are the platform's limits a minute, for a key that has none of its own.

    ``limits`` are the lowest of all levels. A model's own are in the headers of its calls.
    """
    key, tightest = standing.key, standing.tightest
    levels = standing.rate_limits(rpm=defaults["rpm"], tpm=defaults["tpm"])
    return {
        "object": "key",
        "id": key.public_id,
        "name": key.name,
        "masked": key.masked,
        "kind": key.kind,
        "project": {"id": key.project.public_id, "name": key.project.name},
        "organization": {"id": key.org.public_id, "name": key.org.name},
        "created_at": _seconds(key.created_at),
        "expires_at": _seconds(key.expires_at),
        "allowed_models": key.allowed_models,
        "allowed_networks": key.allowed_networks,
        "limits": _limits(tightest_limits(levels.values())),
        "limits_by_level": [
            {"level": level, **_limits(limits)} for level, limits in levels.items()
        ],
        "budgets": [_budget(budget) for budget in standing.budgets],
        "effective": {
            "level": tightest.level,
            "remaining": render_usd(tightest.left_nanos),
            "renews_at": _seconds(tightest.renews_at),
        },
        "effective_by_scope": [_effective(budget) for budget in standing.tightest_by_scope],
        "balance": _balance(standing.balance),
    }


def render_credits(credit: Credits) -> Json:
    return {
        "object": "credits",
        "total_credits": render_usd(credit.credited_nanos),
        "total_usage": render_usd(credit.used_nanos),
        "balance": render_usd(credit.net_nanos),
        **_balance(credit.balance),
    }


def render_generation(generation: Generation) -> Json:
    """A call that runs has no cost yet; one that was given back has none for good."""
    event = generation.event
    head = {
        "object": "generation",
        "id": f"chatcmpl-{generation.request_id.removeprefix('req_')}",
        "request_id": generation.request_id,
        "state": generation.state,
        "created_at": _seconds(generation.created_at),
        "project_id": generation.project,
        "api_key_id": generation.key,
        "model": generation.model,
    }
    if event is None:
        cost = None if generation.state == "held" else render_usd(0)
        return {**head, **dict.fromkeys(("provider", "outcome", "evidence", "usage")), "cost": cost}
    usage = Usage(**{bucket: getattr(event, bucket) for bucket in BUCKETS})
    return {
        **head,
        "provider": event.provider,
        "outcome": event.outcome,
        "evidence": event.evidence,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            "buckets": usage.as_dict(),
        },
        "cost": render_usd(event.amount_nanos),
        "list_cost": render_usd(event.list_nanos),
        "first_token_ms": event.first_token_ms,
        "duration_ms": event.duration_ms,
    }


def _render_page(page: UsagePage, render: Renderer) -> Json:
    return {
        "object": "page",
        "data": [_bucket(bucket, render) for bucket in page.buckets],
        "has_more": page.next_page is not None,
        "next_page": page.next_page,
    }


def _bucket(bucket: Bucket, render: Renderer) -> Json:
    return {
        "object": "bucket",
        "start_time": bucket.start_s,
        "end_time": bucket.end_s,
        "results": [render(each) for each in bucket.sums],
    }


def _completions(used: UsageSum) -> Json:
    usage = used.usage
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": usage.prompt_tokens,
        "input_cached_tokens": usage.cached_input,
        "input_cache_write_tokens": usage.cache_write,
        "input_uncached_tokens": usage.prompt_tokens - usage.cached_input - usage.cache_write,
        "input_audio_tokens": usage.audio_input,
        "output_tokens": usage.completion_tokens,
        "output_audio_tokens": usage.audio_output,
        "num_model_requests": used.requests,
        "project_id": used.project,
        "api_key_id": used.key,
        "model": used.model,
        **dict.fromkeys(("user_id", "batch", "service_tier", "api_source")),
    }


def _costs(used: UsageSum) -> Json:
    return {
        "object": "organization.costs.result",
        "amount": {"value": _number(used.amount_nanos), "currency": "usd"},
        "project_id": used.project,
        "api_key_id": used.key,
        "line_item": used.model,
        **dict.fromkeys(("user_id", "quantity", "quantity_unit", "api_source")),
    }


def _budget(budget: BudgetStanding) -> Json:
    return {
        "level": budget.level,
        "model": budget.model or None,
        "period": budget.period,
        "unit": budget.unit,
        "hard": budget.is_hard,
        **{
            name: render_usd(amount) if budget.unit == "usd" else amount
            for name, amount in (
                ("limit", budget.limit),
                ("used", budget.used),
                ("reserved", budget.reserved),
                ("remaining", budget.left),
            )
        },
        "renews_at": _seconds(budget.renews_at),
    }


def _effective(budget: BudgetStanding) -> Json:
    shown = _budget(budget)
    return {name: shown[name] for name in ("model", "unit", "level", "remaining", "renews_at")}


def _limits(limits: RateLimits) -> Json:
    return {
        "requests_per_minute": limits.rpm,
        "requests_per_day": limits.rpd,
        "tokens_per_minute": limits.tpm,
        "concurrent_requests": limits.concurrency,
    }


def _balance(balance: Balance) -> Json:
    return {
        "currency": "usd",
        "available": render_usd(balance.available_nanos),
        "reserved": render_usd(balance.reserved_nanos),
        "credit_limit": render_usd(balance.credit_limit_nanos),
        "owed": render_usd(balance.owed_nanos),
    }


def _number(nanos: int) -> orjson.Fragment:
    """Return a JSON number with the digits of the decimal."""
    return orjson.Fragment(render_usd(nanos).encode())


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())

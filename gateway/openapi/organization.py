"""A key's own standing, and the organization's usage and costs, in the document."""

from billing.holds import Outcome
from billing.reports import COSTS, MOST_NAMES, USAGE, Form
from billing.usage import BUCKETS, Evidence
from gateway.dialects.schemas import (
    BOOLEAN,
    NULL,
    STRING,
    Schema,
    array_of,
    nullable,
    object_of,
    word,
)
from gateway.openapi.parts import (
    COUNT,
    REQUEST_ID,
    SECONDS,
    USD,
    Json,
    Operation,
    in_query,
)

_LIMITS = {
    name: nullable(COUNT)
    for name in (
        "requests_per_minute",
        "requests_per_day",
        "tokens_per_minute",
        "concurrent_requests",
    )
}
_NAMED = object_of({"id": STRING, "name": STRING}, {})
_BALANCE = {
    "currency": word("usd"),
    "available": USD,
    "reserved": USD,
    "credit_limit": USD,
    "owed": USD,
}
_AMOUNT: Schema = {"anyOf": [USD, COUNT], "description": "Dollars as text, or tokens."}
_BUDGET = object_of(
    {
        "level": STRING,
        "model": nullable(STRING),
        "period": STRING,
        "unit": word("usd", "tokens"),
        "hard": BOOLEAN,
        "limit": _AMOUNT,
        "used": _AMOUNT,
        "reserved": _AMOUNT,
        "remaining": _AMOUNT,
        "renews_at": nullable(SECONDS),
    },
    {},
)
_KEY = object_of(
    {
        "object": word("key"),
        "id": STRING,
        "name": STRING,
        "masked": STRING,
        "kind": word("proj", "svcacct", "admin"),
        "project": _NAMED,
        "organization": _NAMED,
        "created_at": SECONDS,
        "expires_at": nullable(SECONDS),
        "allowed_models": nullable(array_of(STRING)),
        "allowed_networks": nullable(array_of(STRING)),
        "limits": object_of(_LIMITS, {}),
        "limits_by_level": array_of(object_of({"level": STRING, **_LIMITS}, {})),
        "budgets": array_of(_BUDGET),
        "effective": object_of(
            {"level": STRING, "remaining": USD, "renews_at": nullable(SECONDS)}, {}
        ),
        "effective_by_scope": array_of(
            object_of(
                {
                    "model": nullable(STRING),
                    "unit": word("usd", "tokens"),
                    "level": STRING,
                    "remaining": _AMOUNT,
                    "renews_at": nullable(SECONDS),
                },
                {},
            )
        ),
        "balance": object_of(_BALANCE, {}),
    },
    {},
)
_GENERATION = object_of(
    {
        "object": word("generation"),
        "id": STRING,
        "request_id": REQUEST_ID,
        "state": word("held", "settled", "released", "expired"),
        "created_at": SECONDS,
        "project_id": STRING,
        "api_key_id": STRING,
        "model": STRING,
        "provider": nullable(STRING),
        "outcome": nullable(word(*Outcome)),
        "evidence": nullable(word(*Evidence)),
        "usage": nullable(
            object_of(
                {
                    "prompt_tokens": COUNT,
                    "completion_tokens": COUNT,
                    "total_tokens": COUNT,
                    "buckets": object_of({}, dict.fromkeys(BUCKETS, COUNT)),
                },
                {},
            )
        ),
        "cost": nullable(USD),
    },
    {"list_cost": USD, "first_token_ms": nullable(COUNT), "duration_ms": nullable(COUNT)},
)


def _page(result: Schema) -> Schema:
    bucket = object_of(
        {
            "object": word("bucket"),
            "start_time": SECONDS,
            "end_time": SECONDS,
            "results": array_of(result),
        },
        {},
    )
    return object_of(
        {
            "object": word("page"),
            "data": array_of(bucket),
            "has_more": BOOLEAN,
            "next_page": nullable(STRING),
        },
        {},
    )


_WHOSE = {"project_id": nullable(STRING), "api_key_id": nullable(STRING)}
_USED = object_of(
    {
        "object": word("organization.usage.completions.result"),
        "input_tokens": COUNT,
        "input_cached_tokens": COUNT,
        "input_cache_write_tokens": COUNT,
        "input_uncached_tokens": COUNT,
        "input_audio_tokens": COUNT,
        "output_tokens": COUNT,
        "output_audio_tokens": COUNT,
        "num_model_requests": COUNT,
        **_WHOSE,
        "model": nullable(STRING),
    },
    dict.fromkeys(("user_id", "batch", "service_tier", "api_source"), NULL),
)
_COST = object_of(
    {
        "object": word("organization.costs.result"),
        "amount": object_of({"value": {"type": "number"}, "currency": word("usd")}, {}),
        **_WHOSE,
        "line_item": nullable(STRING),
    },
    dict.fromkeys(("user_id", "quantity", "quantity_unit", "api_source"), NULL),
)


def _parameters(form: Form) -> list[Json]:
    """Return what a report may be asked by, from the form that reads it."""
    at: Schema = {"type": "integer", "minimum": 0, "maximum": 10**11 - 1}
    names = array_of(STRING, most=MOST_NAMES)
    most = max(width.most for width in form.widths.values())
    return [
        in_query("start_time", at, "Unix seconds.", required=True),
        in_query("end_time", at, "Unix seconds, after `start_time`."),
        in_query("bucket_width", word(*form.widths), "How wide a bucket is; `1d` if not given."),
        in_query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": most},
            "How many buckets a page has; narrow ones may be more.",
        ),
        in_query("page", {**STRING, "pattern": "^page_[0-9]{1,11}$"}, "The `next_page` before."),
        in_query("group_by", array_of(word(*form.groups)), "What results are split by."),
        in_query("project_ids", names, "Of these projects only."),
        in_query("api_key_ids", names, "Of these keys only."),
        in_query(form.models, names, "Of these models only."),
    ]


SCHEMAS = {
    "Cost": {"type": "number", "minimum": 0, "description": "Dollars, exactly what was charged."},
    "Evidence": {
        **object_of({"evidence": word(*Evidence)}, {}),
        "description": "On whose figures the call was charged.",
    },
    "Key": _KEY,
    "Credits": object_of(
        {
            "object": word("credits"),
            "total_credits": USD,
            "total_usage": USD,
            "balance": USD,
            **_BALANCE,
        },
        {},
    ),
    "Generation": _GENERATION,
    "UsagePage": _page(_USED),
    "CostsPage": _page(_COST),
}
_READ = (400, 401, 403, 500, 503)
_CALL_ID = in_query(
    "id",
    {**STRING, "minLength": 1},
    "The id of an answer (`chatcmpl-…`, `msg_…`, `resp_…`) or of its request (`req_…`).",
    required=True,
)
PATHS = {
    "/v1/key": {
        "get": Operation(
            "getKey", "Standing", "What this key may do and what is left", "Key", _READ
        )
    },
    "/v1/credits": {
        "get": Operation("getCredits", "Standing", "The organization's credit", "Credits", _READ)
    },
    "/v1/generation": {
        "get": Operation(
            "getGeneration",
            "Standing",
            "What one call came to",
            "Generation",
            (*_READ, 404),
            parameters=[_CALL_ID],
        )
    },
    "/v1/organization/usage/completions": {
        "get": Operation(
            "getUsage",
            "Organization",
            "Tokens and calls by buckets of time",
            "UsagePage",
            _READ,
            parameters=_parameters(USAGE),
            says="Needs an admin key. The shape is that of OpenAI's administration client.",
        )
    },
    "/v1/organization/costs": {
        "get": Operation(
            "getCosts",
            "Organization",
            "Costs by days",
            "CostsPage",
            _READ,
            parameters=_parameters(COSTS),
            says="Needs an admin key. The shape is that of OpenAI's administration client.",
        )
    },
}

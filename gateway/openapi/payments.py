"""Credit that comes in, in the document: top-ups, auto top-ups and codes. All need an admin key."""

from gateway.dialects.schemas import BOOLEAN, STRING, array_of, nullable, object_of, word
from gateway.openapi.parts import (
    COUNT,
    SECONDS,
    USD,
    Operation,
    in_path,
    in_query,
    list_of,
    ref,
)

_DOLLARS = {**STRING, "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$", "description": "US dollars."}
_LIST = list_of(ref("TopUp"))
SCHEMAS = {
    "TopUpRequest": {
        **object_of({"amount": _DOLLARS}, {"save_card": BOOLEAN}),
        "additionalProperties": False,
    },
    "TopUp": object_of(
        {
            "object": word("topup"),
            "id": STRING,
            "amount": USD,
            "currency": word("usd"),
            "source": word("checkout", "auto"),
            "status": word("open", "paid", "failed", "expired", "quarantined"),
            "checkout_url": nullable(STRING),
            "failure": nullable(STRING),
            "returned": USD,
            "created_at": SECONDS,
            "closed_at": nullable(SECONDS),
        },
        {},
    ),
    "TopUps": {
        **_LIST,
        "properties": {**_LIST["properties"], "has_more": BOOLEAN},
        "required": [*_LIST["required"], "has_more"],
    },
    "AutoTopUpRequest": {
        **object_of(
            {"threshold": _DOLLARS, "amount": _DOLLARS, "monthly_cap": _DOLLARS},
            {"cool_down_s": COUNT},
        ),
        "additionalProperties": False,
    },
    "AutoTopUp": object_of(
        {"object": word("auto_topup"), "active": BOOLEAN},
        {
            "threshold": USD,
            "amount": USD,
            "monthly_cap": USD,
            "cool_down_s": COUNT,
            "failures": COUNT,
        },
    ),
    "RedeemRequest": {
        **object_of({"code": {**STRING, "minLength": 1}}, {}),
        "additionalProperties": False,
    },
    "Credit": object_of(
        {
            "object": word("credit"),
            "id": COUNT,
            "kind": word("paid", "promotional"),
            "amount": USD,
            "currency": word("usd"),
            "models": nullable(array_of(STRING)),
            "expires_at": nullable(SECONDS),
        },
        {},
    ),
}
_READ = (400, 401, 403, 500, 503)
_WRITE = (*_READ, 404, 408, 409, 413, 429, 502)
_AFTER = in_query("after", STRING, "The id of the last top-up of the page before.")
_ID = in_path("topup_id", "The top-up's id.")
PATHS = {
    "/v1/organization/topups": {
        "get": Operation(
            "listTopUps",
            "Credit",
            "List top-ups, newest first",
            "TopUps",
            (*_READ, 404),
            parameters=[_AFTER],
        ),
        "post": Operation(
            "createTopUp",
            "Credit",
            "Begin a top-up, which is paid on the page that is answered",
            "TopUp",
            _WRITE,
            body="TopUpRequest",
            example={"amount": "25.00"},
        ),
    },
    "/v1/organization/topups/{topup_id}": {
        "get": Operation(
            "getTopUp", "Credit", "Find a top-up", "TopUp", (*_READ, 404), parameters=[_ID]
        )
    },
    "/v1/organization/auto_topup": {
        "get": Operation("getAutoTopUp", "Credit", "Show the auto top-up", "AutoTopUp", _READ),
        "post": Operation(
            "setAutoTopUp",
            "Credit",
            "Top up from the saved card whenever credit falls beneath a threshold",
            "AutoTopUp",
            _WRITE,
            body="AutoTopUpRequest",
            example={"threshold": "5.00", "amount": "25.00", "monthly_cap": "100.00"},
        ),
        "delete": Operation("endAutoTopUp", "Credit", "End the auto top-up", "AutoTopUp", _WRITE),
    },
    "/v1/organization/codes/redeem": {
        "post": Operation(
            "redeemCode",
            "Credit",
            "Redeem a code for its credit, once",
            "Credit",
            _WRITE,
            body="RedeemRequest",
            example={"code": "ABCD-EFGH-JKMN-PQRS"},
        )
    },
}

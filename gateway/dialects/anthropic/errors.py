"""The error envelope: its own type for each status, and the id of the request in the body."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from gateway.dialects.writing import clean
from kernel.errors import BadRequestError, BudgetError, TollgateError

OVERLOADED = 529
# Official clients read it from the details, and then send the whole conversation instead.
NO_THREADS = "thread_unsupported_request"
KINDS: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        408: "timeout_error",
        409: "conflict_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        502: "api_error",
        503: "overloaded_error",
        504: "timeout_error",
    }
)


def error_status(error: TollgateError) -> int:
    """Return the HTTP status: overload has one of its own here."""
    return OVERLOADED if error.http_status == 503 else error.http_status  # noqa: PLR2004 # unavailable


def render_error(error: TollgateError, request_id: str, *, is_streamed: bool = False) -> bytes:
    """Return the body of an error, in valid UTF-8 whatever the message quotes.

    After the first byte of a stream it is overload or ``api_error``: there is no status any more.
    """
    kind = KINDS.get(error.http_status, "invalid_request_error")
    body: dict[str, Any] = {
        "type": "api_error" if is_streamed and kind != "overloaded_error" else kind,
        "message": clean(_message(error)),
    }
    if isinstance(error, BudgetError):
        body["details"] = {"error_code": "enforced_spend_limit_reached"}
    elif error.code == NO_THREADS:
        body["details"] = {"error_code": NO_THREADS}
    return orjson.dumps({"type": "error", "error": body, "request_id": request_id})


def _message(error: TollgateError) -> str:
    """Name the field before the reason, since this envelope has no place of its own for it."""
    if isinstance(error, BadRequestError) and error.param:
        return f"{error.param}: {error.message}"
    return error.message

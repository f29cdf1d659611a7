"""One error tree. Raised where the fault is known, rendered once at the door.

``http_status``, ``code`` and ``param`` are the platform's own words; each dialect renders them in
its form. Money fails closed, rate limits may fail open; both say so with a metric.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class TollgateError(Exception):
    """A fault with a sentence that says what to do.

    ``code`` is the machine-readable word of the contract (``None`` where it has none), ``kind`` the
    OpenAI error type; ``headers`` are extra response headers such as ``retry-after``; ``details``
    are safe to show.
    """

    http_status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.param = param
        self.headers: Mapping[str, str] = headers or {}
        self.details: Mapping[str, Any] = details or {}


class InvalidAmountError(TollgateError):
    http_status = 400
    kind = "invalid_request_error"
    default_code = "invalid_value"

    def __init__(self, value: object) -> None:
        super().__init__(
            f"{str(value)[:40]!r} is not an amount: write dollars with at most nine decimals, "
            "for example 12.50."
        )


class BadRequestError(TollgateError):
    http_status = 400
    kind = "invalid_request_error"
    default_code = "invalid_value"


class NotCarriedError(BadRequestError):
    """What one provider's dialect has no words for; another provider may have."""

    default_code = "unsupported_value"


class UnauthenticatedError(TollgateError):
    """No key or a bad one. ``code`` is ``invalid_api_key`` only for a key that was sent."""

    http_status = 401
    kind = "invalid_request_error"
    default_code = None


class NoCreditError(TollgateError):
    http_status = 402
    kind = "insufficient_quota"
    default_code = "credit_balance_exhausted"


class ForbiddenError(TollgateError):
    http_status = 403
    kind = "permission_error"
    default_code = "model_not_allowed"


class NotFoundError(TollgateError):
    http_status = 404
    kind = "invalid_request_error"
    default_code = "unknown_url"


class MethodNotAllowedError(TollgateError):
    http_status = 405
    kind = "invalid_request_error"
    default_code = "method_not_allowed"


class SlowBodyError(TollgateError):
    http_status = 408
    kind = "timeout_error"
    default_code = "request_timeout"


class ConflictError(TollgateError):
    http_status = 409
    kind = "conflict_error"
    default_code = "idempotency_conflict"


class TooLargeError(TollgateError):
    http_status = 413
    kind = "invalid_request_error"
    default_code = "request_too_large"


class UnsupportedMediaError(TollgateError):
    http_status = 415
    kind = "invalid_request_error"
    default_code = "unsupported_media_type"


class IdempotencyReusedError(TollgateError):
    http_status = 422
    kind = "invalid_request_error"
    default_code = "idempotency_key_reused"


class AnswerNotKeptError(TollgateError):
    http_status = 422
    kind = "invalid_request_error"
    default_code = "idempotent_answer_not_kept"


class LargeHeadersError(TollgateError):
    http_status = 431
    kind = "invalid_request_error"
    default_code = "request_headers_too_large"


class RateLimitError(TollgateError):
    http_status = 429
    kind = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class BudgetError(TollgateError):
    http_status = 429
    kind = "insufficient_quota"
    default_code = "project_spend_limit_exceeded"


class UpstreamError(TollgateError):
    http_status = 502
    default_code = "upstream_error"


class UnavailableError(TollgateError):
    http_status = 503
    kind = "service_unavailable_error"
    default_code = "server_is_overloaded"


class UpstreamTimeoutError(TollgateError):
    http_status = 504
    default_code = "upstream_timeout"

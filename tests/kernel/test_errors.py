"""The error tree: every fault has a status, a type and a code of the contract."""

import pytest

from kernel import errors

CONTRACT = {
    "BadRequestError": (400, "invalid_request_error", "invalid_value"),
    "NotCarriedError": (400, "invalid_request_error", "unsupported_value"),
    "InvalidAmountError": (400, "invalid_request_error", "invalid_value"),
    "UnauthenticatedError": (401, "invalid_request_error", None),
    "NoCreditError": (402, "insufficient_quota", "credit_balance_exhausted"),
    "ForbiddenError": (403, "permission_error", "model_not_allowed"),
    "NotFoundError": (404, "invalid_request_error", "unknown_url"),
    "MethodNotAllowedError": (405, "invalid_request_error", "method_not_allowed"),
    "SlowBodyError": (408, "timeout_error", "request_timeout"),
    "ConflictError": (409, "conflict_error", "idempotency_conflict"),
    "TooLargeError": (413, "invalid_request_error", "request_too_large"),
    "UnsupportedMediaError": (415, "invalid_request_error", "unsupported_media_type"),
    "IdempotencyReusedError": (422, "invalid_request_error", "idempotency_key_reused"),
    "AnswerNotKeptError": (422, "invalid_request_error", "idempotent_answer_not_kept"),
    "RateLimitError": (429, "rate_limit_error", "rate_limit_exceeded"),
    "BudgetError": (429, "insufficient_quota", "project_spend_limit_exceeded"),
    "LargeHeadersError": (431, "invalid_request_error", "request_headers_too_large"),
    "TollgateError": (500, "server_error", "internal_error"),
    "UpstreamError": (502, "server_error", "upstream_error"),
    "UnavailableError": (503, "service_unavailable_error", "server_is_overloaded"),
    "UpstreamTimeoutError": (504, "server_error", "upstream_timeout"),
}


def test_every_error_of_the_tree_stands_in_the_contract() -> None:
    tree = {
        name: (kind.http_status, kind.kind, kind.default_code)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.TollgateError)
    }

    assert tree == CONTRACT


def test_an_error_keeps_its_own_code_param_headers_and_details() -> None:
    error = errors.BadRequestError(
        "Say n.", code="invalid_type", param="n", headers={"retry-after": "1"}, details={"n": 1}
    )

    assert (error.message, error.code, error.param) == ("Say n.", "invalid_type", "n")
    assert (error.headers, error.details) == ({"retry-after": "1"}, {"n": 1})
    assert str(error) == "Say n."


@pytest.mark.parametrize("value", ["x" * 10_000, "Alice's card 4711", None, 1.5])
def test_a_refused_amount_is_shown_in_part_only(value: object) -> None:
    message = errors.InvalidAmountError(value).message

    assert message == (
        f"{str(value)[:40]!r} is not an amount: write dollars with at most nine decimals, "
        "for example 12.50."
    )

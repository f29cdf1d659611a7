"""The base of every view that programs ask: one envelope for faults, an id, no cookies, bounds.

Keys open the customers' paths; a signed-in operator's session opens the operators'. A view reads
its input, calls one function and renders the answer.
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson
from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError, connection
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException, NotAuthenticated, PermissionDenied
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import IsAdminUser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api_auth import AdminKeyAuthentication, KeyAuthentication
from accounts.models import ApiKey
from kernel.errors import (
    BadRequestError,
    ForbiddenError,
    MethodNotAllowedError,
    TollgateError,
    UnauthenticatedError,
    UnavailableError,
)
from kernel.ids import new_request_id
from kernel.log import logger

STATEMENT_TIMEOUT_MS = 5_000
log = logger(__name__)


class JsonRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, *_: Any) -> bytes:
        return orjson.dumps(data)


class IgnoreAccept(BaseContentNegotiation):
    """JSON whatever ``Accept`` says, as on every path of the API."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class ProgramView(APIView):
    """What every view for programs does, whoever asks."""

    permission_classes: Any = ()
    parser_classes: Any = ()
    throttle_classes: Any = ()
    renderer_classes: Any = (JsonRenderer,)
    content_negotiation_class = IgnoreAccept

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse other methods before anything is asked; bound what the database may be asked."""
        if request.method not in self.allowed_methods:
            allowed = " or ".join(m for m in self.allowed_methods if m not in {"HEAD", "OPTIONS"})
            raise MethodNotAllowedError(
                f"{str(request.method)[:20]} is not allowed; use {allowed}."
            )
        for name, values in request.query_params.lists():
            _check_text(name.removesuffix("[]"), values)
        with connection.cursor() as cursor:
            cursor.execute(f"set statement_timeout = {STATEMENT_TIMEOUT_MS}")
        super().initial(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return _answer_error

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().finalize_response(*args, **kwargs)
        response["x-request-id"] = response["request-id"] = new_request_id()
        response["cache-control"] = "no-store"
        return response


class KeyedView(ProgramView):
    """A GET that any key of an active organization may send."""

    http_method_names: Any = ("get", "head")
    authentication_classes: Any = (KeyAuthentication,)


class AdminKeyedView(ProgramView):
    """What the organization's admin keys may do; each view names its methods."""

    authentication_classes: Any = (AdminKeyAuthentication,)


class OperatorView(ProgramView):
    """What operators' programs and pages may do: a staff session, with its CSRF token to write."""

    authentication_classes: Any = (SessionAuthentication,)
    permission_classes: Any = (IsAdminUser,)


def key_of(request: Request) -> ApiKey:
    key = request.auth
    assert isinstance(key, ApiKey), "the authentication lets in nobody else"
    return key


def read_object(request: Request, *, known: Collection[str]) -> Mapping[str, Any]:
    """Return the body as a JSON object with no other fields than the ``known``.

    Raises:
        BadRequestError: for anything else, with the field's name.

    """
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError("The body is not JSON.") from error
    if not isinstance(body, dict):
        raise BadRequestError("The body must be a JSON object.")
    for name in body:
        if name not in known:
            raise BadRequestError(f"Unknown field: {name[:60]!r}.", param=name[:60])
        _check_text(name, body[name])
    return body


def _check_text(name: str, value: Any) -> None:
    """Refuse what the database cannot keep or look for: texts with a NUL in them."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "\0" in text:
            raise BadRequestError(f"{name[:60]} has a NUL in it.", param=name[:60])


def render_error(error: TollgateError) -> dict[str, Any]:
    return {
        "error": {
            "message": error.message,
            "type": error.kind,
            "param": error.param,
            "code": error.code,
        }
    }


def _answer_error(fault: Exception, context: dict[str, Any]) -> Response:
    """Render any fault; one of ours is logged and never shown."""
    error = _as_error(fault)
    if error is None:
        log.error("api_failed", path=context["request"].path, exc_info=fault)
        error = TollgateError("The server had an error; try again.")
    return Response(render_error(error), status=error.http_status, headers=dict(error.headers))


def _as_error(fault: Exception) -> TollgateError | None:
    match fault:
        case TollgateError():
            return fault
        case OperationalError():
            log.error("api_database_failed", error=type(fault).__name__)
            return UnavailableError(
                "The figures cannot be read at the moment; try again, or ask for fewer.",
                headers={"retry-after": "1"},
            )
        case NotAuthenticated():
            return UnauthenticatedError("Sign in as an operator.", code="not_signed_in")
        case PermissionDenied():
            return ForbiddenError("You may not do this.", code="not_allowed")
        case APIException() | SuspiciousOperation():  # Django's word for too many fields
            return BadRequestError("The request cannot be read.")
    return None
